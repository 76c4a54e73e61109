# SPDX-License-Identifier: GPL-2.0-only
# make help lists the targets. Sources are found by folder; there is no list of files to keep.

CC	?= gcc
ARCH	?= $(shell uname -m)
B	?= build
PREFIX	?= /usr/local
LIBDIR	?= $(PREFIX)/lib
PKGS	:= libprotobuf-c libcap libmnl libnftnl libnl-3.0 zlib

WARN	:= -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wpointer-arith -Wwrite-strings -Wundef \
	   -Wvla -Wformat=2 -Wno-format-nonliteral -Wno-unused-parameter -Werror=implicit-function-declaration
OPT	?= -O2 -g
CFLAGS	?= $(OPT)
INC	:= -Icriu -Isoccr -Iinclude -Iimages -I$(B)/images -Icriu/arch/$(ARCH)
# At one address, so that the 8,000 pointers of the messages' descriptors are not written at each start, which makes 60 pages
# private to each command, and its forks copy them (PIE=1: at any address, as hardened builds want it; so does -pie in LDFLAGS).
# What is compiled stays fit for both.
PLACE	 = $(if $(PIE),,-no-pie)
ALLC	 = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(INC) $(WARN) $(CFLAGS) $(shell pkg-config --cflags $(PKGS))
# Each shared library costs every command 0.05 to 0.1 ms; those that are there as archives become part of the program
# (SHARED=1: of none but those that have no archive).
archive	 = $(or $(if $(SHARED),,$(filter /%,$(shell $(CC) -print-file-name=lib$(1:-l%=%).a))),$1)
LIBS	 = -Wl,--as-needed $(foreach l,$(shell pkg-config --libs $(filter-out libmnl,$(PKGS))) -lnet,$(call archive,$l)) \
	   $(shell pkg-config --libs libmnl) -lpthread

PROTO	:= $(wildcard images/*.proto)
PBC	:= $(PROTO:images/%.proto=$(B)/images/%.pb-c.c)
DIRS	:= $(filter-out %/blob,$(filter-out criu/arch/%,$(shell find criu -type d))) criu/arch/$(ARCH) soccr
SRC	:= $(filter-out criu/main.c,$(wildcard $(DIRS:%=%/*.c)))
OBJ	:= $(SRC:%.c=$(B)/%.o) $(PBC:.c=.o) $(B)/criu/agent/blob.o
ALL	:= $(B)/criu/all.a
UNIT	:= $(patsubst test/unit/%.c,$(B)/test/unit/%,$(wildcard test/unit/*.c))
ZDTM	:= $(patsubst test/zdtm/%.c,$(B)/test/zdtm/%,$(wildcard test/zdtm/*.c))
FUZZ	:= $(patsubst test/fuzz/%.c,$(B)/test/fuzz/%,$(wildcard test/fuzz/*.c))
FUZZOBJ	:= $(SRC:%.c=$(B)/fuzz-obj/%.o) $(PBC:$(B)/images/%.pb-c.c=$(B)/fuzz-obj/%.pb-c.o)
CLIENTS	:= $(patsubst test/clients/%.c,$(B)/test/clients/%,$(wildcard test/clients/*.c))
BENCH	:= $(patsubst test/bench/%.c,$(B)/test/bench/%,$(wildcard test/bench/*.c))
PLUGINS	:= $(B)/plugins/cuda_plugin.so
MAN	:= $(B)/criu.8 $(B)/criu-ns.1 $(B)/soccr.3 $(B)/libcriu.3 $(B)/crit.1 $(B)/criu-coredump.1
# Programs in Python.
CRIT	:= crit/crit crit/criu-coredump
SOCCR	:= $(patsubst %.c,$(B)/%.o,$(wildcard soccr/*.c))
LIBCRIU	:= $(patsubst %.c,$(B)/%.o,$(wildcard libcriu/*.c)) $(B)/libcriu/rpc.pb-c.o
LEVEL	 = $(shell sed -n 's/\#define CRIU_LEVEL *"\(.*\)"/\1/p' criu/lib/version.h)

.PHONY: all help soccr libcriu test test-java test-programs clients unit zdtm howto lint bench fuzz asan demo stress install uninstall dist clean tests-build
.SECONDARY:
.DELETE_ON_ERROR:

all: $(B)/criu/criu $(B)/criu/criu-ns $(PLUGINS) libcriu $(MAN)

help:
	@echo 'all soccr libcriu test test-java test-programs clients unit zdtm howto lint bench fuzz asan demo stress install uninstall dist clean'

# Plugins find in it the symbols of exports.list, and no others.
$(B)/criu/criu: $(B)/criu/main.o $(ALL) criu/plugin/exports.list
	$(CC) $(CFLAGS) $(PLACE) $(LDFLAGS) -Wl,--dynamic-list=criu/plugin/exports.list -o $@ $(filter-out %.list,$^) $(LIBS)

# All objects but main(): criu and its unit tests are linked with it.
$(ALL): $(OBJ)
	@rm -f $@
	@$(AR) rcsT $@ $^

$(B)/images/%.pb-c.c $(B)/images/%.pb-c.h: images/%.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=images --c_out=$(B)/images $<

$(B)/images/%.o: $(B)/images/%.c | $(PBC)
	$(CC) -std=gnu11 -I$(B)/images $(CFLAGS) $(shell pkg-config --cflags libprotobuf-c) -MMD -MP -c -o $@ $<

$(B)/%.o: %.c | $(PBC)
	@mkdir -p $(@D)
	$(CC) $(ALLC) -MMD -MP -c -o $@ $<

# Called where the processor has it.
$(B)/criu/arch/x86_64/sum_avx2.o: override CFLAGS += -mavx2

# The agent: no libc, no FPU, position-independent, one flat binary that is put into the tool as data.
BLOBC	:= -std=gnu11 $(INC) $(WARN) -Os -g0 -ffreestanding -fPIE -fno-stack-protector -fno-asynchronous-unwind-tables \
	   -fno-jump-tables -fvisibility=hidden -fcf-protection=none -mgeneral-regs-only -fno-builtin
$(B)/criu/agent/blob/%.o: criu/agent/blob/%.c
	@mkdir -p $(@D)
	$(CC) $(BLOBC) -MMD -MP -c -o $@ $<
$(B)/criu/agent/blob/entry.o: criu/arch/$(ARCH)/agent_entry.S
	@mkdir -p $(@D)
	$(CC) $(INC) -c -o $@ $<
$(B)/criu/agent/blob.bin: criu/arch/$(ARCH)/agent.lds $(B)/criu/agent/blob/entry.o $(B)/criu/agent/blob/agent.o
	$(LD) -static --build-id=none -T $< -o $(B)/criu/agent/blob.elf $(filter %.o,$^)
	objcopy -O binary $(B)/criu/agent/blob.elf $@
$(B)/criu/agent/blob.o: criu/agent/blob/blob.S $(B)/criu/agent/blob.bin
	$(CC) -DBLOB='"$(B)/criu/agent/blob.bin"' -c -o $@ $<

# Plugins: what is in a folder of plugins/ is one shared object.
$(B)/plugins/cuda_plugin.so: $(wildcard plugins/cuda/*.c plugins/cuda/*.h include/criu/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Iinclude -fPIC -fvisibility=hidden -shared $(WARN) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) -lpthread

# The library by itself: it knows nothing of the tool.
$(B)/libsoccr.a: $(SOCCR)
	rm -f $@
	$(AR) rcs $@ $^
soccr: $(B)/libsoccr.a $(B)/soccr.3

# A program of its own, which runs criu.
$(B)/criu/criu-ns: $(patsubst %.c,$(B)/%.o,$(wildcard criu-ns/*.c))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
$(B)/criu-ns/%.o: criu-ns/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -MMD -MP -c -o $@ $<

# The client library: nothing of the tool but the messages, and no name to others but those of criu.h.
LIBC	 = -std=gnu11 -D_GNU_SOURCE -Ilibcriu -I$(B)/images $(WARN) $(CFLAGS) -fPIC -fvisibility=hidden \
	   $(shell pkg-config --cflags libprotobuf-c)
$(B)/libcriu/%.o: libcriu/%.c | $(PBC)
	@mkdir -p $(@D)
	$(CC) $(LIBC) -MMD -MP -c -o $@ $<
$(B)/libcriu/rpc.pb-c.o: $(B)/images/rpc.pb-c.c
	@mkdir -p $(@D)
	$(CC) $(LIBC) -c -o $@ $<
$(B)/libcriu.so.2: $(LIBCRIU)
	$(CC) -shared -Wl,-soname,$(@F) -Wl,-z,defs $(CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libprotobuf-c)
	ln -sf $(@F) $(B)/libcriu.so
# One object, in which the names that are hidden are local ones: a program may have messages of its own.
$(B)/libcriu.a: $(LIBCRIU)
	$(LD) -r -o $(B)/libcriu/all.o $^
	objcopy --localize-hidden $(B)/libcriu/all.o
	rm -f $@
	$(AR) rcs $@ $(B)/libcriu/all.o
libcriu: $(B)/libcriu.so.2 $(B)/libcriu.a

$(B)/%.3: soccr/%.3.adoc
	@mkdir -p $(@D)
	asciidoctor -b manpage -o $@ $<
$(B)/%: Documentation/%.adoc
	@mkdir -p $(@D)
	asciidoctor -b manpage -o $@ $<

# Tests
$(B)/test/unit/soccr: test/unit/soccr.c $(B)/libsoccr.a
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Isoccr $(WARN) $(CFLAGS) -o $@ $^ -lnet -lpthread -lcmocka
$(B)/test/unit/libcriu $(B)/test/unit/libcriu_start: $(B)/test/unit/%: test/unit/%.c test/unit/libcriu_peer.h $(B)/libcriu.a $(ALL)
	@mkdir -p $(@D)
	$(CC) $(ALLC) -Ilibcriu -o $@ $< $(B)/libcriu.a $(ALL) $(LIBS) -lcmocka
$(B)/test/unit/%: test/unit/%.c $(wildcard test/unit/*.h) $(ALL)
	@mkdir -p $(@D)
	$(CC) $(ALLC) -o $@ $< $(ALL) $(LIBS) -lcmocka
$(B)/test/zdtm/libcriu_%: test/zdtm/libcriu_%.c libcriu/criu.h test/zdtm/zdtm.h test/zdtm/zdtm_say.h | $(B)/libcriu.so.2
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Ilibcriu -Iinclude -o $@ $< -L$(B) -lcriu -Wl,-rpath,'$$ORIGIN/../..' -lpthread
$(B)/test/zdtm/%: test/zdtm/%.c test/zdtm/zdtm.h test/zdtm/zdtm_say.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude -o $@ $< -lpthread -lrt
$(B)/test/bench/%: test/bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude -o $@ $< -lpthread
$(B)/test/fuzz/%: test/fuzz/%.c $(FUZZOBJ)
	@mkdir -p $(@D)
	clang $(ALLC) -fsanitize=fuzzer,address -o $@ $< $(FUZZOBJ) $(B)/criu/agent/blob.o $(LIBS)
# Once for all fuzzers.
$(B)/fuzz-obj/%.o: %.c | $(PBC)
	@mkdir -p $(@D)
	@clang $(ALLC) -fsanitize=fuzzer-no-link,address -MMD -MP -c -o $@ $<
$(B)/fuzz-obj/%.pb-c.o: $(B)/images/%.pb-c.c | $(PBC)
	@mkdir -p $(@D)
	@clang -std=gnu11 -I$(B)/images $(CFLAGS) -fsanitize=fuzzer-no-link,address -c -o $@ $<

tests-build: all $(UNIT) $(ZDTM)
# For those who say nothing of -j; MAKEFLAGS has that when a recipe runs.
JOBS	 = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

unit: $(UNIT)
	@scripts/run-units $(UNIT)
zdtm: tests-build
	@test/zdtm/run --criu $(B)/criu/criu --tests $(B)/test/zdtm $(ZDTM_ARGS)
howto: all
	@scripts/check-howto $(B)
test:
	@scripts/install-deps --test
	@$(MAKE) --no-print-directory $(JOBS) tests-build
	@scripts/run-tests $(B)
# What needs a Java machine, some 130 MB more to install.
test-java:
	@scripts/install-deps --java
	@$(MAKE) --no-print-directory $(JOBS) tests-build
	@test/zdtm/run --criu $(B)/criu/criu --tests $(B)/test/zdtm --set java
# Large programs: databases, and what uses asynchronous I/O.
test-programs:
	@scripts/install-deps --programs
	@$(MAKE) --no-print-directory $(JOBS) tests-build
	@test/zdtm/run --criu $(B)/criu/criu --tests $(B)/test/zdtm --set programs
# Container tools as they are: runc, crun, podman, LXC.
$(B)/test/clients/%: test/clients/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -static -o $@ $<
clients:
	@scripts/install-deps --clients
	@scripts/fetch-unstable
	@$(MAKE) --no-print-directory $(JOBS) all $(CLIENTS)
	@test/clients/run --criu $(B)/criu/criu --inmate $(B)/test/clients/inmate $(CLIENTS_ARGS)
lint:
	@scripts/lint
bench: all $(BENCH)
	@test/bench/run $(B) $(BENCH_ARGS)
fuzz: all $(FUZZ)
	@test/fuzz/run $(B) $(FUZZ_SECONDS)
asan:
	$(MAKE) B=build-asan OPT='-O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer' tests-build unit
demo:
	@scripts/demo
stress: tests-build
	@status=0; for how in --stress '--real --rounds 20 --busy'; do \
		test/zdtm/run --criu $(B)/criu/criu --tests $(B)/test/zdtm $$how || status=1; \
	done; exit $$status

TO	 = $(DESTDIR)$(PREFIX)
TOLIB	 = $(DESTDIR)$(LIBDIR)
install: all soccr
	install -D -m 755 $(B)/criu/criu $(TO)/sbin/criu
	install -D -m 755 $(B)/criu/criu-ns $(TO)/sbin/criu-ns
	install -D -m 644 -t $(TO)/share/man/man8 $(B)/criu.8
	install -D -m 644 -t $(TO)/share/man/man1 $(B)/criu-ns.1
	install -D -m 644 -t $(TO)/share/man/man3 $(B)/soccr.3 $(B)/libcriu.3
	install -D -m 644 -t $(TOLIB) $(B)/libsoccr.a $(B)/libcriu.a
	install -m 755 $(B)/libcriu.so.2 $(TOLIB)/libcriu.so.2
	ln -sf libcriu.so.2 $(TOLIB)/libcriu.so
	install -D -m 644 -t $(TO)/include/soccr soccr/soccr.h soccr/segment.h
	install -D -m 644 -t $(TO)/include/criu libcriu/criu.h
	mkdir -p $(TOLIB)/pkgconfig
	sed 's,@PREFIX@,$(PREFIX),; s,@LIBDIR@,$(LIBDIR),; s,@VERSION@,$(LEVEL),' libcriu/criu.pc.in > $(TOLIB)/pkgconfig/criu.pc
	install -D -m 755 -t $(TO)/bin $(CRIT) scripts/criu-migrate
	install -D -m 644 -t $(TO)/share/criu/criu_images crit/criu_images/*.py
	install -D -m 644 -t $(TO)/share/criu/images $(PROTO) images/images.def
	install -D -m 644 -t $(TO)/share/man/man1 $(CRIT:crit/%=$(B)/%.1)
	install -D -m 755 -t $(TO)/lib/criu $(PLUGINS)
	install -D -m 644 -t $(TO)/include/criu include/criu/*.h
uninstall:
	rm -f $(PLUGINS:$(B)/plugins/%=$(TO)/lib/criu/%)
	rm -f $(TO)/sbin/criu $(TO)/sbin/criu-ns $(TO)/share/man/man8/criu.8 $(TO)/share/man/man1/criu-ns.1
	rm -f $(TO)/share/man/man3/soccr.3 $(TO)/share/man/man3/libcriu.3
	rm -f $(addprefix $(TOLIB)/,libsoccr.a libcriu.a libcriu.so.2 libcriu.so pkgconfig/criu.pc)
	rm -rf $(TO)/include/soccr $(TO)/include/criu
	rm -f $(TO)/bin/criu-migrate $(CRIT:crit/%=$(TO)/bin/%) $(CRIT:crit/%=$(TO)/share/man/man1/%.1)
	rm -rf $(TO)/share/criu/criu_images $(TO)/share/criu/images
dist:
	git archive --format=tar.gz --prefix=criu/ -o criu.tar.gz HEAD
clean:
	rm -rf build build-*

-include $(OBJ:.o=.d) $(LIBCRIU:.o=.d) $(wildcard $(B)/criu-ns/*.d) $(FUZZOBJ:.o=.d) $(B)/criu/main.d $(B)/criu/agent/blob/agent.d
