/* SPDX-License-Identifier: LGPL-2.1-only */
/* What can be asked of criu, and what comes of it. */
#include <string.h>
#include <unistd.h>

#include "inner.h"

/* From the connection to the answer, which is to be freed. When it returns, criu that was started has ended. */
static int request(criu_opts *opts, bool self, CriuReq *req, CriuResp **resp)
{
	struct libcriu_peer peer;
	int err;

	*resp = NULL;
	if (!opts)
		return libcriu_fail(-EINVAL);
	err = libcriu_connect(opts, self, &peer);
	if (err)
		return err;
	err = libcriu_ask(opts, peer.fd, req, resp);
	/* In the restored process that criu is history. */
	if (!err && (*resp)->dump && (*resp)->dump->restored)
		peer.apart = false;
	libcriu_disconnect(&peer);
	return err;
}

/* For requests whose answer is yes or no. */
static int ask_verdict(criu_opts *opts, CriuReq *req)
{
	CriuResp *resp;
	int err = request(opts, false, req, &resp);

	if (!err)
		err = libcriu_verdict(resp);
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	return err;
}

int criu_local_check(criu_opts *opts)
{
	CriuReq req = CRIU_REQ__INIT;

	req.type = CRIU_REQ_TYPE__CHECK;
	return ask_verdict(opts, &req);
}

int criu_check(void)
{
	return criu_local_check(libcriu_global());
}

static bool dumps_itself(const criu_opts *opts)
{
	return opts && (!opts->rpc->has_pid || opts->rpc->pid == getpid());
}

int criu_local_dump(criu_opts *opts)
{
	CriuReq req = CRIU_REQ__INIT;
	CriuResp *resp;
	int ret;

	req.type = CRIU_REQ_TYPE__DUMP;
	req.opts = opts ? opts->rpc : NULL;
	ret = request(opts, dumps_itself(opts), &req, &resp);
	if (!ret)
		ret = libcriu_verdict(resp);
	if (!ret && resp->dump && resp->dump->restored)
		ret = 1;
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	return ret;
}

int criu_dump(void)
{
	return criu_local_dump(libcriu_global());
}

int criu_local_pre_dump(criu_opts *opts)
{
	CriuReq req = CRIU_REQ__INIT;

	req.type = CRIU_REQ_TYPE__SINGLE_PRE_DUMP;
	req.opts = opts ? opts->rpc : NULL;
	return ask_verdict(opts, &req);
}

int criu_pre_dump(void)
{
	return criu_local_pre_dump(libcriu_global());
}

/* One of several requests of a connection. */
static int ask_again(criu_opts *opts, int fd, CriuReqType type)
{
	CriuReq req = CRIU_REQ__INIT;
	CriuResp *resp;
	int err;

	req.type = type;
	req.opts = opts->rpc;
	err = libcriu_ask(opts, fd, &req, &resp);
	if (!err)
		err = libcriu_verdict(resp);
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	return err;
}

/* A caller that dumps itself could not run more() in between. */
int criu_local_dump_iters(criu_opts *opts, criu_more_cb more)
{
	struct libcriu_peer peer;
	int ret;

	if (!opts || !more || dumps_itself(opts))
		return libcriu_fail(-EINVAL);
	ret = libcriu_connect(opts, false, &peer);
	if (ret)
		return ret;
	do {
		ret = ask_again(opts, peer.fd, CRIU_REQ_TYPE__PRE_DUMP);
		if (!ret)
			ret = more(NULL);
	} while (ret > 0);
	if (!ret)
		ret = ask_again(opts, peer.fd, CRIU_REQ_TYPE__DUMP);
	libcriu_disconnect(&peer);
	return ret;
}

int criu_dump_iters(criu_more_cb more)
{
	return criu_local_dump_iters(libcriu_global(), more);
}

int criu_local_restore(criu_opts *opts)
{
	CriuReq req = CRIU_REQ__INIT;
	CriuResp *resp;
	int ret;

	req.type = CRIU_REQ_TYPE__RESTORE;
	req.opts = opts ? opts->rpc : NULL;
	ret = request(opts, false, &req, &resp);
	if (!ret)
		ret = libcriu_verdict(resp);
	if (!ret)
		ret = resp->restore && resp->restore->pid > 0 ? resp->restore->pid : libcriu_fail(-EBADMSG);
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	return ret;
}

int criu_restore(void)
{
	return criu_local_restore(libcriu_global());
}

/* Only a criu that is the caller's child can make another child of the caller's: a sibling of criu. */
int criu_local_restore_child(criu_opts *opts)
{
	enum criu_service_comm comm;
	int ret;

	if (!opts)
		return libcriu_fail(-EINVAL);
	comm = opts->comm;
	opts->comm = CRIU_COMM_BIN;
	opts->rpc->has_rst_sibling = opts->rpc->rst_sibling = true;
	ret = criu_local_restore(opts);
	opts->rpc->has_rst_sibling = opts->rpc->rst_sibling = false;
	opts->comm = comm;
	return ret;
}

int criu_restore_child(void)
{
	return criu_local_restore_child(libcriu_global());
}

/* One number, to be compared. A version between two releases (with a git id) counts as the next one. */
static int version_number(const CriuVersion *v)
{
	bool between = v->gitid && *v->gitid;

	return v->major_number * 10000 + (v->minor_number + between) * 100 +
	       (v->has_sublevel && !between ? v->sublevel : 0);
}

int criu_local_get_version(criu_opts *opts)
{
	CriuReq req = CRIU_REQ__INIT;
	CriuResp *resp;
	int ret;

	req.type = CRIU_REQ_TYPE__VERSION;
	req.opts = opts ? opts->rpc : NULL;
	ret = request(opts, false, &req, &resp);
	if (!ret)
		ret = libcriu_verdict(resp);
	if (!ret)
		ret = resp->version ? version_number(resp->version) : libcriu_fail(-EBADMSG);
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	return ret;
}

int criu_get_version(void)
{
	return criu_local_get_version(libcriu_global());
}

int criu_local_check_version(criu_opts *opts, int minimum)
{
	int version = criu_local_get_version(opts);

	return version < 0 ? version : version >= minimum;
}

int criu_check_version(int minimum)
{
	return criu_local_check_version(libcriu_global(), minimum);
}

static void ask_feature(bool wanted, protobuf_c_boolean *has, protobuf_c_boolean *value)
{
	*has = *value = wanted;
}

static int ask_features(criu_opts *opts, struct criu_feature_check *f)
{
	CriuFeatures wanted = CRIU_FEATURES__INIT;
	CriuReq req = CRIU_REQ__INIT;
	CriuResp *resp;
	int err;

	req.type = CRIU_REQ_TYPE__FEATURE_CHECK;
	req.features = &wanted;
	ask_feature(f->mem_track, &wanted.has_mem_track, &wanted.mem_track);
	ask_feature(f->lazy_pages, &wanted.has_lazy_pages, &wanted.lazy_pages);
	ask_feature(f->pidfd_store, &wanted.has_pidfd_store, &wanted.pidfd_store);
	err = request(opts, false, &req, &resp);
	if (!err)
		err = libcriu_verdict(resp);
	if (!err && !resp->features)
		err = libcriu_fail(-EBADMSG);
	if (!err) {
		f->mem_track &= resp->features->has_mem_track && resp->features->mem_track;
		f->lazy_pages &= resp->features->has_lazy_pages && resp->features->lazy_pages;
		f->pidfd_store &= resp->features->has_pidfd_store && resp->features->pidfd_store;
	}
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	return err;
}

/* A caller that was built with an older header has fewer features than this library. */
int criu_local_feature_check(criu_opts *opts, struct criu_feature_check *features, size_t size)
{
	struct criu_feature_check f = { 0 };
	int err;

	if (!features || size > sizeof(f))
		return libcriu_fail(-EINVAL);
	memcpy(&f, features, size);
	err = ask_features(opts, &f);
	if (!err)
		memcpy(features, &f, size);
	return err;
}

int criu_feature_check(struct criu_feature_check *features, size_t size)
{
	return criu_local_feature_check(libcriu_global(), features, size);
}
