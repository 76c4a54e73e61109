/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether this processor has what the one of the images had. */
#include <stdio.h>
#include <string.h>

#include "arch/arch_cpu.h"
#include "cpu.h"
#include "lib/log.h"
#include "xstate.h"

#define IMAGE "cpuinfo.img"

/* Names, with commas between them; what does not fit is counted. */
struct name_list {
	char text[512];
	unsigned n, left_out;
};

static void add_name(struct name_list *l, const char *name)
{
	size_t len = strlen(l->text);

	if (len + strlen(name) + 3 > sizeof(l->text)) {
		l->left_out++;
		return;
	}
	snprintf(l->text + len, sizeof(l->text) - len, "%s%s", l->n++ ? ", " : "", name);
}

/* "avx2, hle and 3 more" */
static const char *list_text(struct name_list *l)
{
	size_t len = strlen(l->text);

	if (l->left_out && len + 20 < sizeof(l->text))
		snprintf(l->text + len, sizeof(l->text) - len, " and %u more", l->left_out);
	return l->text;
}

static void add_features(struct name_list *l, unsigned word, uint32_t bits)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name = cpu_feature_name(word, bit);
		char number[40];

		if (!(bits & (1U << bit)))
			continue;
		snprintf(number, sizeof(number), "capability %u.%u", word, bit);
		add_name(l, name ?: number);
	}
}

static int check_shape(const CpuinfoEntry *image)
{
	const CpuinfoX86Entry *e = image->n_x86_entry ? image->x86_entry[0] : NULL;
	size_t words;

	if (!e && (image->n_ppc64_entry || image->n_s390_entry))
		return log_refusal(-EOPNOTSUPP, IMAGE ": is of another kind of processor");
	if (image->n_x86_entry != 1)
		return log_errno(-EINVAL, IMAGE ": has %zu processors instead of one", image->n_x86_entry);
	if (e->capability_ver < 1 || e->capability_ver > CPU_VERSION)
		return log_refusal(-EOPNOTSUPP,
		                   IMAGE ": its capabilities are of version %u, which this criu does not know (only 1 "
		                         "and 2); --cpu-cap=none restores without looking at it",
		                   e->capability_ver);
	words = e->capability_ver == 1 ? CPU_WORDS_1 : CPU_WORDS;
	if (e->n_capability != words)
		return log_errno(-EINVAL, IMAGE ": has %zu words of capabilities; version %u has %zu", e->n_capability,
		                 e->capability_ver, words);
	return 0;
}

static int check_components(const CpuinfoX86Entry *image, const CpuinfoX86Entry *here)
{
	uint64_t always = XSTATE_BIT(XSTATE_X87) | XSTATE_BIT(XSTATE_SSE);
	uint64_t lacking = image->xfeatures_mask & ~(here->xfeatures_mask | always);
	struct name_list l = { 0 };

	if (!image->has_xfeatures_mask || !lacking)
		return 0;
	for (unsigned n = 0; n < 64; n++) {
		char text[80];

		if (!(lacking & XSTATE_BIT(n)))
			continue;
		snprintf(text, sizeof(text), "%s (component %u)", xstate_name(n), n);
		add_name(&l, text);
	}
	return log_refusal(-EOPNOTSUPP,
	                   IMAGE ": this processor, or its kernel, lacks register state that the programs may use: "
	                         "%s; restore them where it is there, or with --cpu-cap=^fpu if they surely use none "
	                         "of it",
	                   list_text(&l));
}

/* A program may have asked once how large XSAVE's area is, and have made room for just that. */
static int check_area(const char *what, bool known, uint32_t image, uint32_t here)
{
	if (!known || image == here)
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   IMAGE ": %s of the register state is %u bytes on this processor and was %u where the "
	                         "programs began; restore them where it is the same, or with --cpu-cap=^fpu if they "
	                         "surely do not save it themselves",
	                   what, here, image);
}

static int check_fpu(const CpuinfoX86Entry *image, const CpuinfoX86Entry *here)
{
	int err = check_components(image, here), one;

	one = check_area("the size", image->has_xsave_size, image->xsave_size, here->xsave_size);
	err = err ?: one;
	one = check_area("the largest size", image->has_xsave_size_max, image->xsave_size_max, here->xsave_size_max);
	return err ?: one;
}

static int check_instructions(const CpuinfoX86Entry *image, const CpuinfoX86Entry *here)
{
	struct name_list l = { 0 };

	for (unsigned w = 0; w < image->n_capability; w++)
		add_features(&l, w, image->capability[w] & ~here->capability[w] & cpu_instructions(w));
	add_features(&l, CPU_7_1_EAX,
	             image->capability_7_1_eax & ~here->capability_7_1_eax & cpu_instructions(CPU_7_1_EAX));
	if (!l.n)
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   IMAGE ": this processor lacks instructions that the programs may use: %s; restore them "
	                         "where they are there, or with --cpu-cap=^ins if the programs surely use none of "
	                         "them",
	                   list_text(&l));
}

static int check_all(const CpuinfoX86Entry *image, const CpuinfoX86Entry *here)
{
	struct name_list lacks = { 0 }, more = { 0 };

	for (unsigned w = 0; w < image->n_capability; w++) {
		add_features(&lacks, w, image->capability[w] & ~here->capability[w]);
		add_features(&more, w, here->capability[w] & ~image->capability[w]);
	}
	if (image->has_capability_7_1_eax) {
		add_features(&lacks, CPU_7_1_EAX, image->capability_7_1_eax & ~here->capability_7_1_eax);
		add_features(&more, CPU_7_1_EAX, here->capability_7_1_eax & ~image->capability_7_1_eax);
	}
	if (!lacks.n && !more.n)
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   IMAGE ": the capabilities of this processor (%s) are not those of the one of the images "
	                         "(%s), which --cpu-cap=cpu asks for: it lacks %s; it has besides %s",
	                   here->model_id, image->model_id ?: "unknown", lacks.n ? list_text(&lacks) : "nothing",
	                   more.n ? list_text(&more) : "nothing");
}

int arch_cpu_check(const CpuinfoEntry *image, const CpuinfoEntry *here, unsigned caps)
{
	int err = check_shape(image), one = 0;

	if (err)
		return err;
	if (caps & CPU_CAP_FPU)
		err = check_fpu(image->x86_entry[0], here->x86_entry[0]);
	if (caps & CPU_CAP_INS)
		one = check_instructions(image->x86_entry[0], here->x86_entry[0]);
	err = err ?: one;
	if (caps & CPU_CAP_CPU)
		one = check_all(image->x86_entry[0], here->x86_entry[0]);
	return err ?: one;
}
