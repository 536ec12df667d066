# Pipe-BD in C. `make help` lists the targets, `make config` what was found.
#
# Sources are found by wildcard: a new .c file in a library folder, a new
# tools/pipebd_NAME.c, a file in tools/run/ or tools/trace/ (subcommands of pipebd-run,
# pipebd-trace), tests/test_NAME.c, tests/fuzz_NAME.c or bench/NAME.c is built without a change
# here. Everything made goes under $(BUILD).
#
#     build/obj    objects and their header dependencies
#     build/lib    libpipebd.a, libpipebd.so (only pipebd_ names, include/pipebd.h) and
#                  libpipebd-internal.a (all names, kernels/ and executor/ too; what
#                  tools and tests link)
#     build/bin    pipebd-NAME
#     build/tests  one program a tests/test_*.c, and what test scripts run (tests/pytorch,
#                  tests/mpi)
#     build/bench  one program a bench/*.c
#     build/asan   all of this again, under sanitizers
#     build/fuzz   and again, by clang for the fuzzers

VERSION := $(shell sed -n 's/^\#define PIPEBD_VERSION "\([0-9.]*\)".*/\1/p' include/pipebd.h)
SOVERSION := 0

BUILD      ?= build
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
DOCDIR     ?= $(DATADIR)/doc/pipebd
COMPLETIONDIR ?= $(DATADIR)/bash-completion/completions
CFLAGS     ?= -O2 -g
PKG_CONFIG ?= pkg-config
OBJCOPY    ?= objcopy
PYTHON     ?= python3
CLANG      ?= clang
FUZZ_SECONDS ?= 10
SECONDS    ?= 3600

# Set by the sub-makes of check-asan and fuzz: a list for -fsanitize.
SANITIZE   ?=

comma := ,
hash  := \#

# What libpipebd has: planning and simulation. Pages and plots are for the tools alone.
LIBRARY_FOLDERS := base workloads traces traces/import schedule sim sim/stalls planner \
                   $(addprefix planner/,stages hetero ls split store whatif report check)
PLOT_FOLDERS    := plots paper

# What trains for real needs a backend, oneDNN's or CUDA's, and stays out of libpipebd, which only
# plans.
EXECUTOR_FOLDERS = kernels $(addprefix executor/,train checkpoint store monitor measure transport \
                   net data nas import) $(if $(HAVE_DNNL),kernels/cpu)

# Models of other programs as workloads: needs no backend.
IMPORT_SOURCES := $(sort $(wildcard executor/import/*.c))

# What of it needs no backend: fuzzers and pipebd-workload are built without.
PLAIN_SOURCES := $(addprefix executor/checkpoint/,safetensors.c tensors.c state_names.c)

# ---- flags -------------------------------------------------------------------

# -ffp-contract=off: no fused multiply-add, so that every machine computes the
# same bits and outputs can be compared byte for byte.
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wconversion -Wsign-conversion \
            $(if $(CI)$(WERROR),-Werror)
SANITIZE_FLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
                  -fno-omit-frame-pointer)

# What turns an overflow into an end instead of an attack: checks of the stack and of libc's calls,
# and tables that cannot be written once a program runs. Sanitizers have checks of their own, libc's
# need optimisation, and what CFLAGS or CPPFLAGS say of them stands.
FORTIFY_LEVEL := $(shell echo '__USE_FORTIFY_LEVEL' | $(CC) -O2 -U_FORTIFY_SOURCE \
                 -D_FORTIFY_SOURCE=3 -include stdlib.h -E -P -x c - 2>/dev/null | tail -n 1)
OPTIMISES     := $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS))))
FORTIFY       := $(if $(OPTIMISES),$(if $(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,$(if \
                 $(filter 2 3,$(FORTIFY_LEVEL)),-U_FORTIFY_SOURCE \
                 -D_FORTIFY_SOURCE=$(FORTIFY_LEVEL))))
HARDEN        := $(if $(SANITIZE),,-fstack-protector-strong $(FORTIFY))
HARDEN_LINK   := $(if $(SANITIZE),,-Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now)

# Whether a library is there and of a version that fits (scripts/library.sh). HAVE_GLPK= and so on,
# on the command line, leaves one out.
LIBRARY  := CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' PKG_CONFIG='$(PKG_CONFIG)' \
            scripts/library.sh
found     = $(if $(filter found,$(shell $(LIBRARY) $(1))),yes)
flags_of  = $(shell $(LIBRARY) flags $(1))

HAVE_JANSSON := $(call found,jansson)
HAVE_CMOCKA  := $(call found,cmocka)
HAVE_GLPK    := $(call found,glpk)
HAVE_DNNL    := $(call found,dnnl)
HAVE_JPEG    := $(call found,jpeg)
HAVE_ZLIB    := $(call found,zlib)
HAVE_SQLITE  := $(call found,sqlite)
HAVE_MPI     := $(call found,mpi)

# Goals that install what is missing, or build nothing.
WITHOUT_JANSSON := help clean config deps uninstall demo paper check check-subsets check-distros \
                   check-asan check-tsan fuzz
ifeq ($(HAVE_JANSSON),)
ifneq ($(filter-out $(WITHOUT_JANSSON),$(or $(MAKECMDGOALS),all)),)
$(error jansson is $(or $(filter-out found,$(shell $(LIBRARY) jansson)),missing), which reads \
        JSON: run "make deps", or "apt-get install libjansson-dev")
endif
endif

JANSSON_FLAGS  := $(call flags_of,jansson)
JANSSON_CFLAGS := $(filter -I% -D%,$(JANSSON_FLAGS))
JANSSON_LIBS   := $(filter-out -I% -D%,$(JANSSON_FLAGS))
CMOCKA_FLAGS   := $(call flags_of,cmocka)
CMOCKA_CFLAGS  := $(filter -I% -D%,$(CMOCKA_FLAGS))
CMOCKA_LIBS    := $(filter-out -I% -D%,$(CMOCKA_FLAGS))
MPI_FLAGS      := $(if $(HAVE_MPI),$(call flags_of,mpi))
MPI_CFLAGS     := $(filter -I% -D%,$(MPI_FLAGS))
MPI_LIBS       := $(filter-out -I% -D%,$(MPI_FLAGS))

# CUDA: its compiler, the runtime, cuDNN and cuBLASLt, with NCCL where it is there; HAVE_CUDA=
# leaves it out.
CUDA_WORDS  := $(shell PYTHON='$(PYTHON)' scripts/cuda.sh)
NVCC        := $(firstword $(CUDA_WORDS))
HAVE_CUDA   := $(if $(NVCC),yes)
CUDA_CFLAGS := $(if $(HAVE_CUDA),-DHAVE_CUDA $(filter -isystem% -D%,$(CUDA_WORDS)))
CUDA_LIBS   := $(if $(HAVE_CUDA),$(filter -L% -l% -Wl%,$(CUDA_WORDS)) -lstdc++)
HAVE_NCCL   := $(if $(HAVE_CUDA),$(if $(filter -DHAVE_NCCL,$(CUDA_WORDS)),yes))

# Machine code for each, and PTX of the newest for GPUs to come.
CUDA_ARCHS  ?= 75 80 86 89 90
NVCC_ARCHS  = $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a)$(comma)code=sm_$(a)) \
              -gencode \
              arch=compute_$(lastword $(CUDA_ARCHS))$(comma)code=compute_$(lastword $(CUDA_ARCHS))

# Machine code for GPUs is the same under sanitizers, which check the host's part: it is made once.
CUDA_BUILD  ?= $(BUILD)

# A backend to compute with.
HAVE_DEVICE := $(or $(HAVE_DNNL),$(HAVE_CUDA))

# Tools that do not compute are not bound to these libraries.
EXECUTOR_LIBS := $(if $(HAVE_DEVICE),-Wl$(comma)--as-needed $(if $(HAVE_DNNL),-ldnnl -lgomp) \
                 $(if $(HAVE_JPEG),-ljpeg) \
                 $(if $(HAVE_MPI),$(MPI_LIBS)) -Wl$(comma)--no-as-needed -ldl)

# $(call say,WHAT) before a command: a short line in its place, nothing with make -s; V=1: the
# command itself.
silent = $(findstring s,$(filter-out -%,$(firstword $(MAKEFLAGS))))
say = $(if $(V)$(silent),$(if $(V),,@),@printf '  %-4s  %s\n' $1 $(patsubst $(BUILD)/%,%,$@); )

# Hidden: what include/pipebd.h does not mark PIPEBD_API stays inside the libraries.
COMPILE := $(CC) -std=c17 -D_GNU_SOURCE -pthread $(WARNINGS) $(HARDEN) $(CFLAGS) -ffp-contract=off \
           -fPIC -fvisibility=hidden -I. \
           $(SANITIZE_FLAGS) $(JANSSON_CFLAGS) $(CPPFLAGS)

# What is told only to files that ask which libraries are there: others are the same with any.
OPTIONAL := $(if $(HAVE_GLPK),-DHAVE_GLPK) $(if $(HAVE_ZLIB),-DHAVE_ZLIB) \
            $(if $(HAVE_SQLITE),-DHAVE_SQLITE) $(if $(HAVE_JPEG),-DHAVE_JPEG) \
            $(if $(HAVE_DNNL),-DHAVE_DNNL) $(if $(HAVE_MPI),-DHAVE_MPI) $(CUDA_CFLAGS)

# nvcc gives the host's part to a C++ compiler, as C++17.
# Each .cu takes a minute for five generations: once, where there is ccache.
CUDA_CCACHE  := $(shell command -v ccache)
COMPILE_CUDA := $(CUDA_CCACHE) $(NVCC) -std=c++17 -O3 $(NVCC_ARCHS) -Werror all-warnings -I. \
                -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra,-Werror
LINK    := $(CC) -pthread $(CFLAGS) $(SANITIZE_FLAGS) $(HARDEN_LINK) $(LDFLAGS)
LIBS    := $(JANSSON_LIBS) $(if $(HAVE_ZLIB),-lz) $(if $(HAVE_SQLITE),-lsqlite3) -lm $(LDLIBS)

# Tests find the sources, their fixtures and the tools whatever folder they run in.
TEST_DEFINES := -DPIPEBD_ROOT='"$(CURDIR)"' -DPIPEBD_BIN='"$(abspath $(BUILD))/bin"'

# ---- files -------------------------------------------------------------------

# Without $(1): those of $(2) that include a header of kernels/ or executor/, or one that does, are
# left out. Headers of the system, which do not, are not read.
without = $(if $(1),$(2),$(if $(2),$(shell $(CC) -MM -MG -nostdinc -I. $(TEST_DEFINES) \
          $(CPPFLAGS) $(2) | sed ':a; /\\$$/ { N; s/\\\n//; ba }' | \
            awk '!/ (kernels|executor)\// { print $$2 }')))

EXECUTOR_FOLDERS += $(if $(HAVE_MPI),executor/net/mpi)

# The CUDA backend and NCCL's transport are a plug-in, which pipebd-run loads when it is asked for
# GPUs.
PLUGIN_FOLDERS  := kernels/cuda kernels/cuda/sequence executor/plugin \
                   $(if $(HAVE_NCCL),executor/transport/nccl)
PLUGIN_SOURCES  := $(if $(HAVE_CUDA),$(sort $(wildcard $(addsuffix /*.c,$(PLUGIN_FOLDERS)))))

LIBRARY_SOURCES := $(sort $(wildcard $(addsuffix /*.c,$(LIBRARY_FOLDERS))))
PLOT_SOURCES    := $(sort $(wildcard $(addsuffix /*.c,$(PLOT_FOLDERS))))
EXECUTOR_FILES   := $(sort $(wildcard $(addsuffix /*.c,$(EXECUTOR_FOLDERS))))
EXECUTOR_SOURCES := $(if $(HAVE_DEVICE),$(EXECUTOR_FILES),$(PLAIN_SOURCES) $(IMPORT_SOURCES))
CUDA_SOURCES    := $(if $(HAVE_CUDA), \
                     $(sort $(wildcard kernels/cuda/*.cu kernels/cuda/sequence/*.cu)))
TOOL_SOURCES    := $(filter-out $(if $(HAVE_DEVICE),,tools/pipebd_run.c), \
                     $(sort $(wildcard tools/pipebd_*.c)))
RUN_SOURCES     := $(if $(HAVE_DEVICE),$(sort $(wildcard tools/run/*.c)))
TRACE_SOURCES   := $(sort $(wildcard tools/trace/*.c))
WORKLOAD_SOURCES := $(sort $(wildcard tools/workload/*.c))
TOOL_SHARED     := $(filter-out tools/pipebd_%,$(sort $(wildcard tools/*.c)))
TEST_FILES      := $(call without,$(HAVE_DNNL),$(sort $(wildcard tests/test_*.c)))
TEST_SOURCES    := $(if $(HAVE_CMOCKA), \
                     $(filter-out $(if $(HAVE_NCCL),,tests/test_nccl.c),$(TEST_FILES)))
FUZZ_SOURCES    := $(sort $(wildcard tests/fuzz_*.c))
TEST_SHARED     := $(filter-out tests/test_% tests/fuzz_% $(if $(HAVE_DNNL),,tests/async_device.c) \
                   $(if $(HAVE_NCCL),,tests/nccl_fake.c), \
                     $(sort $(wildcard tests/*.c)))
BENCH_SOURCES   := $(call without,$(HAVE_DNNL),$(sort $(wildcard bench/*.c)))
TEST_PROGRAMS   := $(call without,$(HAVE_DNNL),$(sort $(wildcard tests/pytorch/*.c) \
                     $(if $(HAVE_MPI),$(wildcard tests/mpi/*.c))))
# Programs for a GPU; with a fake CUDA they run here (tests/cuda/fake.h).
CUDA_TEST_SOURCES := $(if $(HAVE_CUDA),$(sort $(wildcard tests/cuda/test_*.c)))
TEST_SCRIPTS    := $(sort $(wildcard tests/test_*.sh tests/test_*.py))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# GLPK is GPL, so only what names it here is linked with it: neither the library nor what trains.
GLPK_SOURCES := $(if $(HAVE_GLPK),planner/ls/glpk/tasks_glpk.c)
GLPK_LIBS    := $(if $(HAVE_GLPK),-lglpk)

LIBRARY_OBJECTS := $(call objects,$(LIBRARY_SOURCES))
INTERNAL_OBJECTS := $(LIBRARY_OBJECTS) $(call objects,$(PLOT_SOURCES) $(EXECUTOR_SOURCES))
PLUGIN_HOST_OBJECTS := $(call objects,$(PLUGIN_SOURCES))
PLUGIN_OBJECTS := $(PLUGIN_HOST_OBJECTS) $(patsubst %.cu,$(CUDA_BUILD)/obj/%.cu.o,$(CUDA_SOURCES))
PLUGIN := $(if $(HAVE_CUDA),$(BUILD)/lib/pipebd/libpipebd-cuda.so)
TOOLS   := $(patsubst tools/pipebd_%.c,$(BUILD)/bin/pipebd-%,$(TOOL_SOURCES))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SOURCES))
PROGRAMS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_PROGRAMS))
CUDA_TESTS := $(patsubst tests/cuda/%.c,$(BUILD)/tests/cuda/%,$(CUDA_TEST_SOURCES))
FAKE_TESTS := $(patsubst tests/cuda/%.c,$(BUILD)/tests/cuda-fake/%,$(CUDA_TEST_SOURCES))
CUDA_BENCH_SOURCES := $(if $(HAVE_CUDA),$(sort $(wildcard bench/cuda/*.c)))
CUDA_BENCHES := $(patsubst bench/cuda/%.c,$(BUILD)/bench/cuda/%,$(CUDA_BENCH_SOURCES))
FAKE_BENCHES := $(patsubst bench/cuda/%.c,$(BUILD)/tests/cuda-fake/bench_%,$(CUDA_BENCH_SOURCES))
CUDNN_PLANS := $(if $(HAVE_CUDA),$(BUILD)/tests/cuda/cudnn_plans)
FAKE_RUN := $(if $(HAVE_CUDA),$(BUILD)/tests/cuda-fake/pipebd-run)
FAKE_SOURCES := $(filter-out $(if $(HAVE_NCCL),,%_nccl.c),$(wildcard tests/cuda/fake_*.c))
FAKE_OBJECTS := $(PLUGIN_HOST_OBJECTS) $(FAKE_SOURCES:%.c=$(BUILD)/obj/%.o) \
                $(patsubst %.cu,$(BUILD)/obj/emulated/%.o,$(CUDA_SOURCES)) \
                $(BUILD)/obj/emulated/emulator.o $(if $(HAVE_NCCL),$(BUILD)/obj/tests/nccl_fake.o)
FUZZERS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(FUZZ_SOURCES))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(BENCH_SOURCES))
INTERNAL := $(BUILD)/lib/libpipebd-internal.a
STATIC  := $(BUILD)/lib/libpipebd.a
SHARED  := $(BUILD)/lib/libpipebd.so

# Those files; headers do not ask, tools/search_options.h apart.
OPTIONAL_SOURCES := $(shell grep -lE 'HAVE_[A-Z]|search_options|nccl_fake' $(LIBRARY_SOURCES) \
                    $(PLOT_SOURCES) $(GLPK_SOURCES) $(EXECUTOR_SOURCES) $(TOOL_SOURCES) \
                    $(TOOL_SHARED) $(RUN_SOURCES) $(TEST_SOURCES) $(TEST_SHARED) $(BENCH_SOURCES)) \
                    $(PLUGIN_SOURCES) $(CUDA_BENCH_SOURCES) $(wildcard tests/cuda/*.c) \
                    $(if $(HAVE_NCCL),tests/nccl_fake.c)

# Sanitizers keep tables of their own in every object, which ld -r and objcopy do not
# know; nobody installs such a build, so it goes without the library to install.
INSTALLED := $(if $(SANITIZE),,$(STATIC) $(SHARED))

# Lines with it begin with "+": make sees only $(MAKE) itself, and would give another name no job
# server. As many jobs as there are processors, where nobody said how many, which MAKEFLAGS tells in
# recipes alone.
PROCESSORS := $(shell nproc 2>/dev/null || echo 1)
SUBMAKE = $(MAKE) --no-print-directory \
          $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(PROCESSORS))
RUN_TESTS = PIPEBD_ROOT='$(CURDIR)' PIPEBD_BIN='$(abspath $(BUILD))/bin' PYTHON='$(PYTHON)' \
            tests/run.sh

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all tools config deps demo picture paper check tsan-run check-run check-asan check-tsan \
        check-kill check-faults check-plans check-all lint soak fuzz fuzz-run valgrind bench \
        golden tests cuda-tests install uninstall man clean help FORCE

# What scripts/config.sh reads.
CONFIG = CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' PKG_CONFIG='$(PKG_CONFIG)' \
         PYTHON='$(PYTHON)' scripts/config.sh

# ---- targets -----------------------------------------------------------------

all:         ## the library and the tools (the default)
all: $(BUILD)/config.txt $(INTERNAL) $(INSTALLED) $(PLUGIN) $(TOOLS)

# What `make demo` runs: without the library for others, and without the GPU's part, whose machine
# code takes minutes.
tools: $(BUILD)/config.txt $(TOOLS)

config:      ## print which tools and libraries were found
	@$(CONFIG)

deps:        ## install what the build needs (apt; asks for sudo when not root)
	@CC='$(CC)' scripts/deps.sh build

demo:        ## build, then run the demonstration into demo/
	@CC='$(CC)' scripts/deps.sh demo
	@+$(SUBMAKE) tools
	@BUILD='$(BUILD)' scripts/demo.sh

picture:     ## draw README's picture, docs/schedules.svg, anew
	@+$(SUBMAKE) all
	@for s in dp ahd; do \
	    $(BUILD)/bin/pipebd-sim traces/nas-cifar10-a6000.json --schedule $$s --steps 3 \
	    --timeline $(BUILD)/picture-$$s.json -o $(BUILD)/picture-$$s.txt || exit 1; done
	$(BUILD)/bin/pipebd-plot gantt $(BUILD)/picture-dp.json $(BUILD)/picture-ahd.json \
	    --from 0 --to 560000 -o docs/schedules.svg

paper:       ## build, then the paper on modelled GPUs, beside its poster, into paper-report/
	@CC='$(CC)' scripts/deps.sh build
	@+$(SUBMAKE) all
	@BUILD='$(BUILD)' scripts/paper.sh

# A sub-make, so that packages just installed are seen by the $(shell) lines above.
check:       ## install what the tests need, build all, run all tests
	@CI='$(CI)' CC='$(CC)' PYTHON='$(PYTHON)' scripts/deps.sh test
	@+$(SUBMAKE) check-run

check-run: all tests $(BENCHES)  ## build all and run all tests, installing nothing
	@$(RUN_TESTS) $(TESTS) $(FAKE_TESTS) $(TEST_SCRIPTS)

.PHONY: check-subsets check-distros
check-subsets:  ## build and test without each library, then without all (SUBSETS="dnnl mpi ...")
	@+MAKE='$(MAKE)' BUILD='$(BUILD)' scripts/check_subsets.sh $(SUBSETS)

check-distros:  ## demo and check in fresh Debian systems (root, debootstrap; RELEASES, MIRROR)
	@BUILD='$(BUILD)' MIRROR='$(MIRROR)' scripts/check_distros.sh $(RELEASES)

check-asan:  ## the same tests under the address and undefined-behaviour sanitizers
	@CC='$(CC)' PYTHON='$(PYTHON)' scripts/deps.sh test
	@+$(SUBMAKE) check-run BUILD=$(BUILD)/asan CUDA_BUILD=$(BUILD) \
	    SANITIZE=address,undefined CFLAGS='-O1 -g'

# Of the tests of threads those that link no oneDNN, which the sanitizer does not know.
check-tsan:  ## what several threads share, under the thread sanitizer (transport, loader, ...)
	@CC='$(CC)' PYTHON='$(PYTHON)' scripts/deps.sh test
	@+$(SUBMAKE) tsan-run BUILD=$(BUILD)/tsan CUDA_BUILD=$(BUILD) SANITIZE=thread CFLAGS='-O1 -g'

tsan-run: $(addprefix $(BUILD)/tests/test_, \
            transport loader checkpoint heartbeat device_status doorbell)
	@PIPEBD_ROUNDS=200 $(RUN_TESTS) $^

check-kill:  ## kill and resume training hundreds of times (minutes)
	@+$(SUBMAKE) all
	@PIPEBD_ROUNDS=200 PIPEBD_TEST_LIMIT=3600 $(RUN_TESTS) tests/test_resume.sh
	@PIPEBD_ROUNDS=70 PIPEBD_TEST_LIMIT=3600 $(RUN_TESTS) tests/test_stored.sh
	@PIPEBD_ROUNDS=30 PIPEBD_TEST_LIMIT=3600 $(RUN_TESTS) tests/test_restart.sh

check-faults:  ## kill, stop and cut off processes of runs 200 times (about 20 minutes)
	@+$(SUBMAKE) all tests
	@PIPEBD_ROUNDS=20 PIPEBD_TEST_LIMIT=7200 $(RUN_TESTS) tests/test_faults.sh

LINT_FLAGS = $(JANSSON_CFLAGS) $(if $(HAVE_ZLIB),-DHAVE_ZLIB) $(if $(HAVE_SQLITE),-DHAVE_SQLITE) \
             $(if $(HAVE_JPEG),-DHAVE_JPEG) $(if $(HAVE_DNNL),-DHAVE_DNNL)
lint:        ## look for faults with clang-tidy (.clang-tidy) and cppcheck, which have to be there
	@scripts/lint.sh tidy $(LINT_FLAGS)
	@scripts/lint.sh cppcheck $(LINT_FLAGS)

# What takes longer than a check may: before a release. The first that fails ends it. Distributions
# want root.
CHECK_ALL := lint check-plans check-asan check-tsan check-subsets check-kill check-faults fuzz \
             $(if $(filter 0,$(shell id -u)),check-distros)

check-plans:  ## hold the planner against every plan of 1,500 random traces (minutes)
	@+$(SUBMAKE) all tests
	@PIPEBD_CASES=1500 PIPEBD_TEST_LIMIT=3600 $(RUN_TESTS) $(BUILD)/tests/test_best_plan

check-all:   ## all that takes longer than a check may, from lint to distributions (hours)
	@+PIPEBD_THOROUGH=1 $(SUBMAKE) check
	@+for target in $(CHECK_ALL); do $(SUBMAKE) $$target || exit 1; done

soak:        ## for SECONDS (3600) train through random faults, and lose nothing (tests/soak.sh)
	@+$(SUBMAKE) all tests
	@PIPEBD_SECONDS='$(SECONDS)' PIPEBD_ROOT='$(CURDIR)' PIPEBD_BIN='$(abspath $(BUILD))/bin' \
	    PYTHON='$(PYTHON)' tests/soak.sh

fuzz:        ## run each fuzzer for FUZZ_SECONDS (10) on its fixtures; needs clang
	@CLANG='$(CLANG)' scripts/deps.sh fuzz
	@+$(SUBMAKE) fuzz-run BUILD=$(BUILD)/fuzz CC='$(CLANG)' CFLAGS='-O1 -g' HAVE_DNNL= HAVE_CUDA= \
	    SANITIZE=fuzzer-no-link,address,undefined

fuzz-run: $(FUZZERS)
	@BUILD='$(BUILD)' FUZZ_SECONDS='$(FUZZ_SECONDS)' scripts/fuzz.sh $(FUZZERS)

# Leaks are those of memory that nothing points to: OpenMP's threads stay. Heartbeats have deadlines
# that it misses. The others that are left out consist of oneDNN's generated code, a quarter of an
# hour and more each, and that of 2.6 reads past the end of buffers of its own; check-asan has them.
VALGRIND_OMITS := heartbeat rows train_text memory_model
VALGRIND := valgrind -q --suppressions=tests/valgrind.supp --leak-check=full \
            --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=99
valgrind: all tests  ## run the C tests under valgrind (an hour)
	@scripts/deps.sh valgrind
	@PIPEBD_TEST_LIMIT=3000 PIPEBD_TEST_WRAPPER='$(VALGRIND)' \
	    $(RUN_TESTS) $(filter-out $(VALGRIND_OMITS:%=$(BUILD)/tests/test_%),$(TESTS))

bench: all $(BENCHES)  ## build bench/ and run bench/run.sh, which writes bench/results anew
	@if [ -x bench/run.sh ]; then BUILD='$(BUILD)' bench/run.sh; \
	 else echo 'built: $(or $(BENCHES),nothing, bench/ has no .c files)'; fi

golden: all tests  ## rerun the tests, rewriting the expected outputs in tests/golden/
	@PIPEBD_GOLDEN=write $(RUN_TESTS) $(TESTS) $(TEST_SCRIPTS)

tests: $(TESTS) $(PROGRAMS) $(FAKE_TESTS) $(FAKE_RUN) $(FAKE_BENCHES) $(CUDNN_PLANS) \
       $(CUDA_TESTS) $(CUDA_BENCHES)

cuda-tests:  ## build tests/cuda and bench/cuda, for a machine with a GPU
cuda-tests: $(CUDA_TESTS) $(CUDA_BENCHES)

# Where it goes: scripts/install.sh.
INSTALL = PREFIX='$(PREFIX)' BINDIR='$(BINDIR)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' \
          PKGCONFIGDIR='$(PKGCONFIGDIR)' DATADIR='$(DATADIR)' MANDIR='$(MANDIR)' \
          DOCDIR='$(DOCDIR)' COMPLETIONDIR='$(COMPLETIONDIR)' DESTDIR='$(DESTDIR)' \
          VERSION='$(VERSION)' SOVERSION='$(SOVERSION)' BUILD='$(BUILD)' \
          TOOLS='$(notdir $(TOOLS))' LIBS='$(LIBS)' scripts/install.sh

install: all man  ## into PREFIX (/usr/local), under DESTDIR when set
	@$(INSTALL) install

uninstall:   ## remove what install put there
	@$(INSTALL) uninstall

.PHONY: wheel
wheel: $(SHARED)  ## the Python package for every Python 3 of this platform, into BUILD/wheel
	@mkdir -p $(BUILD)/wheel
	@cd python && PIPEBD_LIBRARY='$(abspath $(SHARED))' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -c \
	    'import build_wheel, sys; print("$(BUILD)/wheel/" + build_wheel.build_wheel(sys.argv[1]))' \
	    '$(abspath $(BUILD))/wheel'

man: $(BUILD)/completion/pipebd  ## man pages and bash completion, from the tools' option tables

compile_commands.json: FORCE  ## what clangd and other tools want to know of every file
	@$(SUBMAKE) -n -B V=1 all tests | scripts/compile_commands.sh > $@.new && mv $@.new $@

clean:       ## remove everything built
	rm -rf $(BUILD)

help:        ## print this list
	@echo 'Targets:'
	@sed -n 's/^\([a-z_.-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 25
	@echo 'Variables: BUILD CC CFLAGS LDFLAGS DESTDIR PREFIX BINDIR LIBDIR MANDIR V=1 WERROR=1 PYTHON'
	@echo '           FUZZ_SECONDS CLANG CUDA_HOME CUDA_ARCHS (and more: Makefile)'

# ---- rules -------------------------------------------------------------------

# $(call stamp,TEXT) keeps $@ equal to TEXT and touches it only when TEXT changed,
# so that other flags, or a deleted source, rebuild what they should.
stamp = @mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
        printf '%s\n' '$(subst ','\'',$(1))' > $@

$(BUILD)/flags.txt: FORCE
	$(call stamp,$(COMPILE))

$(BUILD)/optional.txt: FORCE
	$(call stamp,$(OPTIONAL))

$(BUILD)/link.txt: FORCE
	$(call stamp,$(LINK) $(LIBS) $(EXECUTOR_LIBS))

$(CUDA_BUILD)/cuda.txt: FORCE
	$(call stamp,$(COMPILE_CUDA))

COMPILED = $(LIBRARY_SOURCES) $(PLOT_SOURCES) $(EXECUTOR_SOURCES) $(PLUGIN_SOURCES) \
           $(CUDA_SOURCES) $(GLPK_SOURCES) | $(TOOL_SHARED) $(RUN_SOURCES) $(TRACE_SOURCES) \
           $(WORKLOAD_SOURCES) $(TEST_SHARED)
$(BUILD)/sources.txt: FORCE
	$(call stamp,$(COMPILED) | $(LD) $(OBJCOPY))

# Printed once a build folder; `make config` prints it again.
$(BUILD)/config.txt: scripts/config.sh scripts/library.sh
	@mkdir -p $(@D)
	@$(CONFIG) > $@.new; \
	    status=$$?; cat $@.new; [ $$status -ne 0 ] || mv $@.new $@; exit $$status

# The pages in build/man are made with it.
$(BUILD)/completion/pipebd: scripts/manual.sh $(TOOLS)
	@scripts/manual.sh $(BUILD)/bin $(BUILD)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(call say,CC)$(COMPILE) $(if $(filter $<,$(OPTIONAL_SOURCES)),$(OPTIONAL)) $(DEFINES) \
	    -MMD -MP -c $< -o $@

$(call objects,$(OPTIONAL_SOURCES)): $(BUILD)/optional.txt

# cmocka compares as float what is a double.
$(BUILD)/obj/tests/%.o: DEFINES = $(TEST_DEFINES) $(CMOCKA_CFLAGS) -Wno-conversion \
        -Wno-float-conversion
# Loops that a device's team of threads shares, and vectors.
$(BUILD)/obj/kernels/cpu/%.o: DEFINES = -fopenmp -O3 -fno-math-errno -fno-trapping-math
$(BUILD)/obj/kernels/cpu/depthwise_loops.o: DEFINES += -ffp-contract=fast

$(BUILD)/obj/executor/net/mpi/%.o: DEFINES = $(MPI_CFLAGS)

$(CUDA_BUILD)/obj/%.cu.o: %.cu $(CUDA_BUILD)/cuda.txt
	@mkdir -p $(@D)
	$(call say,NVCC)$(COMPILE_CUDA) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@

# q, not r: r would keep only one of two objects of the same name from two folders.
$(INTERNAL): $(INTERNAL_OBJECTS) $(BUILD)/sources.txt $(BUILD)/link.txt
	@mkdir -p $(@D)
	@rm -f $@
	ar qcs $@ $(INTERNAL_OBJECTS)

# One object whose hidden names are made local, so that a program may have a compare()
# or an error_set() of its own.
$(BUILD)/obj/pipebd.o: $(LIBRARY_OBJECTS) $(BUILD)/sources.txt
	$(call say,LD)$(LD) -r -o $@ $(LIBRARY_OBJECTS)
	$(OBJCOPY) --localize-hidden --wildcard --keep-global-symbol='pipebd_*' $@

$(STATIC): $(BUILD)/obj/pipebd.o
	@mkdir -p $(@D)
	@rm -f $@
	ar qcs $@ $<

$(SHARED): $(LIBRARY_OBJECTS) $(BUILD)/sources.txt $(BUILD)/link.txt
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -shared -Wl,-soname,libpipebd.so.$(SOVERSION) \
	    -Wl,--version-script=scripts/libpipebd.map -o $@ $(LIBRARY_OBJECTS) $(LIBS)

GLPK_PROGRAMS := $(BUILD)/bin/pipebd-plan $(BUILD)/bin/pipebd-sim $(BUILD)/tests/test_tasks \
                 $(BUILD)/tests/test_memory_limits \
                 $(BUILD)/bench/tasks

$(GLPK_PROGRAMS): $(call objects,$(GLPK_SOURCES))
$(GLPK_PROGRAMS): private LINK_GLPK = $(GLPK_LIBS)

# The subcommands of pipebd-run, pipebd-trace and pipebd-workload are no part of the other tools.
$(BUILD)/bin/pipebd-run: $(call objects,$(RUN_SOURCES))
$(BUILD)/bin/pipebd-trace: $(call objects,$(TRACE_SOURCES))
$(BUILD)/bin/pipebd-workload: $(call objects,$(WORKLOAD_SOURCES))

# It finds what it calls (base/plugin.h) in the program that loads it.
$(PLUGIN): $(PLUGIN_OBJECTS) $(BUILD)/sources.txt $(BUILD)/link.txt
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -shared -o $@ $(PLUGIN_OBJECTS) $(CUDA_LIBS)

$(BUILD)/bin/pipebd-run: private LINK_PLUGINS = -Wl,--export-dynamic
$(BUILD)/obj/kernels/cuda_plugin.o: DEFINES = -DPIPEBD_PLUGIN_DIR='"$(LIBDIR)/pipebd"'

$(BUILD)/bin/pipebd-%: $(BUILD)/obj/tools/pipebd_%.o $(call objects,$(TOOL_SHARED)) $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) $(LINK_PLUGINS) -o $@ $(filter %.o,$^) $(INTERNAL) \
	    $(EXECUTOR_LIBS) $(LINK_GLPK) $(LIBS)

# The allocator is wrapped so that a test can make its n-th call fail (tests/support.h).
WRAP_ALLOCATOR := $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc strdup)

# tests/nccl_fake.c stands in NCCL's place.
$(BUILD)/tests/test_nccl: $(PLUGIN_OBJECTS)
$(BUILD)/tests/test_nccl: private EXECUTOR_LIBS += $(CUDA_LIBS)
$(BUILD)/tests/test_nccl: LINK_TEST = -Wl,-z,muldefs

# What tests share: each takes what it uses.
LIBTESTS := $(BUILD)/lib/libtests.a

$(LIBTESTS): $(call objects,$(TEST_SHARED)) $(BUILD)/sources.txt
	@mkdir -p $(@D)
	@rm -f $@
	ar qcs $@ $(filter %.o,$^)

$(BUILD)/tests/test_%: $(BUILD)/obj/tests/test_%.o $(BUILD)/obj/tests/support.o $(LIBTESTS) \
        $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) $(LINK_TEST) $(WRAP_ALLOCATOR) -o $@ $(filter %.o,$^) $(LIBTESTS) \
	    $(INTERNAL) $(CMOCKA_LIBS) $(EXECUTOR_LIBS) $(LINK_GLPK) $(LIBS)

# What a test script runs beside the tools.
$(PROGRAMS): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) $(EXECUTOR_LIBS) $(LIBS)

# The GPU's, and without one: kernels compiled as C++, the fake in the libraries' place.
CUDA_TEST_SHARED := $(call objects,tests/hand_nets.c tests/slow_net.c tests/slow_sequence.c \
                      tests/sequence_cases.c tests/loss_truth.c tests/head_workload.c)

# cuDNN itself, which needs no GPU for what this asks.
$(CUDNN_PLANS): $(BUILD)/obj/tests/cuda/cudnn_plans.o $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) -Wl,--as-needed \
	    $(EXECUTOR_LIBS) $(CUDA_LIBS) -Wl,--no-as-needed $(LIBS)

$(BUILD)/bench/cuda/%: $(BUILD)/obj/bench/cuda/%.o $(PLUGIN_OBJECTS) $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) $(EXECUTOR_LIBS) $(CUDA_LIBS) $(LIBS)

$(BUILD)/tests/cuda/%: $(BUILD)/obj/tests/cuda/%.o $(CUDA_TEST_SHARED) $(PLUGIN_OBJECTS) $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) $(EXECUTOR_LIBS) $(CUDA_LIBS) $(LIBS)

COMPILE_EMULATED := $(CXX) -std=c++17 -pthread -Wall -Wextra -Wno-unknown-pragmas -O2 -g \
                    -ffp-contract=off -fPIC -fvisibility=hidden \
                    -I. $(CUDA_CFLAGS) $(SANITIZE_FLAGS)

$(BUILD)/obj/emulated/%.o: %.cu $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(call say,CC)$(COMPILE_EMULATED) -include tests/cuda/emulator.h -x c++ -MMD -MP -c $< -o $@

$(BUILD)/obj/emulated/emulator.o: tests/cuda/emulator.cpp $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(call say,CC)$(COMPILE_EMULATED) -MMD -MP -c $< -o $@

# Loops that stand for a GPU's are to be quick.
$(BUILD)/obj/tests/cuda/fake_%.o: DEFINES = -O3

FAKE_LIBS := $(if $(HAVE_DNNL),-ldnnl -lgomp) $(if $(HAVE_JPEG),-ljpeg) \
             $(if $(HAVE_MPI),$(MPI_LIBS)) -lstdc++ -ldl

$(BUILD)/tests/cuda-fake/pipebd-run: $(BUILD)/obj/tools/pipebd_run.o \
        $(call objects,$(TOOL_SHARED) $(RUN_SOURCES)) $(FAKE_OBJECTS) $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) $(FAKE_LIBS) $(LIBS)

$(BUILD)/tests/cuda-fake/bench_%: $(BUILD)/obj/bench/cuda/%.o $(FAKE_OBJECTS) $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) $(FAKE_LIBS) $(LIBS)

$(BUILD)/tests/cuda-fake/%: $(BUILD)/obj/tests/cuda/%.o $(CUDA_TEST_SHARED) $(FAKE_OBJECTS) \
        $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) $(FAKE_LIBS) $(LIBS)

$(BUILD)/tests/fuzz_json: $(BUILD)/obj/tests/json_walk.o

$(BUILD)/tests/fuzz_%: $(BUILD)/obj/tests/fuzz_%.o $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(INTERNAL) \
	    $(EXECUTOR_LIBS) $(LIBS)

$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $(filter %.o,$^) $(INTERNAL) \
	    $(EXECUTOR_LIBS) $(LINK_GLPK) $(LIBS)

-include $(patsubst %.cu,$(CUDA_BUILD)/obj/%.cu.d,$(CUDA_SOURCES)) $(FAKE_OBJECTS:.o=.d) \
         $(BUILD)/obj/tests/cuda/cudnn_plans.d
-include $(patsubst %.c,$(BUILD)/obj/%.d,$(LIBRARY_SOURCES) $(PLOT_SOURCES) $(GLPK_SOURCES) \
         $(EXECUTOR_SOURCES) $(PLUGIN_SOURCES) $(TOOL_SOURCES) $(TOOL_SHARED) $(RUN_SOURCES) \
         $(TRACE_SOURCES) $(WORKLOAD_SOURCES) $(TEST_SOURCES) $(CUDA_TEST_SOURCES) \
         $(CUDA_BENCH_SOURCES) $(TEST_PROGRAMS) $(FUZZ_SOURCES) $(TEST_SHARED) $(BENCH_SOURCES))
