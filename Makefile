# SPDX-License-Identifier: GPL-2.0-only
# make help lists the targets. Sources are found by folder; there is no list of files to keep.

CC	?= gcc
ARCH	?= $(shell uname -m)
B	?= build
PREFIX	?= /usr/local
PKGS	:= libprotobuf-c libcap libmnl libnftnl libnl-3.0 zlib

WARN	:= -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wpointer-arith -Wwrite-strings -Wundef \
	   -Wvla -Wformat=2 -Wno-format-nonliteral -Wno-unused-parameter -Werror=implicit-function-declaration
OPT	?= -O2 -g
CFLAGS	?= $(OPT)
INC	:= -Icriu -Isoccr -Iinclude -Iimages -I$(B)/images -Icriu/arch/$(ARCH)
ALLC	 = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(INC) $(WARN) $(CFLAGS) $(shell pkg-config --cflags $(PKGS))
LIBS	 = -Wl,--as-needed $(shell pkg-config --libs $(PKGS)) -lnet -lpthread

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
BENCH	:= $(patsubst test/bench/%.c,$(B)/test/bench/%,$(wildcard test/bench/*.c))
MAN	:= $(B)/criu.8 $(B)/soccr.3
SOCCR	:= $(patsubst %.c,$(B)/%.o,$(wildcard soccr/*.c))

.PHONY: all help soccr test test-java test-programs unit zdtm howto lint bench fuzz asan demo stress install uninstall dist clean tests-build
.SECONDARY:
.DELETE_ON_ERROR:

all: $(B)/criu/criu $(MAN)

help:
	@echo 'all soccr test test-java test-programs unit zdtm howto lint bench fuzz asan demo stress install uninstall dist clean'

$(B)/criu/criu: $(B)/criu/main.o $(ALL)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

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

# The library by itself: it knows nothing of the tool.
$(B)/libsoccr.a: $(SOCCR)
	rm -f $@
	$(AR) rcs $@ $^
soccr: $(B)/libsoccr.a $(B)/soccr.3

$(B)/%.3: soccr/%.3.adoc
	@mkdir -p $(@D)
	asciidoctor -b manpage -o $@ $<
$(B)/criu.8: Documentation/criu.8.adoc
	@mkdir -p $(@D)
	asciidoctor -b manpage -o $@ $<

# Tests
$(B)/test/unit/soccr: test/unit/soccr.c $(B)/libsoccr.a
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Isoccr $(WARN) $(CFLAGS) -o $@ $^ -lnet -lpthread -lcmocka
$(B)/test/unit/%: test/unit/%.c $(wildcard test/unit/*.h) $(ALL)
	@mkdir -p $(@D)
	$(CC) $(ALLC) -o $@ $< $(ALL) $(LIBS) -lcmocka
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

install: all soccr
	install -D -m 755 $(B)/criu/criu $(DESTDIR)$(PREFIX)/sbin/criu
	install -D -m 644 $(B)/criu.8 $(DESTDIR)$(PREFIX)/share/man/man8/criu.8
	install -D -m 644 $(B)/libsoccr.a $(DESTDIR)$(PREFIX)/lib/libsoccr.a
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/soccr soccr/soccr.h soccr/segment.h
	install -D -m 644 $(B)/soccr.3 $(DESTDIR)$(PREFIX)/share/man/man3/soccr.3
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/criu $(DESTDIR)$(PREFIX)/share/man/man8/criu.8
	rm -f $(DESTDIR)$(PREFIX)/lib/libsoccr.a $(DESTDIR)$(PREFIX)/share/man/man3/soccr.3
	rm -rf $(DESTDIR)$(PREFIX)/include/soccr
dist:
	git archive --format=tar.gz --prefix=criu/ -o criu.tar.gz HEAD
clean:
	rm -rf build build-*

-include $(OBJ:.o=.d) $(FUZZOBJ:.o=.d) $(B)/criu/main.d $(B)/criu/agent/blob/agent.d
