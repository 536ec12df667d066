/* Blocks of threads as fibers: see emulator.h. */
#include "tests/cuda/emulator.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

thread_local uint3 threadIdx, blockIdx;
thread_local dim3  blockDim, gridDim;

enum { THREADS_MAX = 1024, STACK_BYTES = 256 * 1024, SHARED_MAX = 48 * 1024 };

/* What a fiber waits for: a barrier of the block, or its warp's exchange. */
typedef enum { WAITS_NOT, WAITS_FOR_BLOCK, WAITS_FOR_WARP } EmulatedWait;

/* ---- switching stacks ---- */

#if defined(__x86_64__)

/* Saves what a call must keep, and the stack, in *from; goes on where to was left. */
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

typedef void *Place;

static void go(Place *from, Place *to) { emulator_switch(from, *to); }

static void begin_at(Place *place, char *stack, void (*start)())
{
    void **top = reinterpret_cast<void **>(stack + STACK_BYTES) - 1;

    *top = nullptr;                      /* as if start() was called: the stack is 8 off 16 */
    *--top = reinterpret_cast<void *>(start);
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    *place = top;
}

#else
#include <ucontext.h>

typedef ucontext_t Place;

static void go(Place *from, Place *to) { swapcontext(from, to); }

static void begin_at(Place *place, char *stack, void (*start)())
{
    getcontext(place);
    place->uc_stack.ss_sp = stack;
    place->uc_stack.ss_size = STACK_BYTES;
    makecontext(place, start, 0);
}

#endif

struct Fiber {
    Place place;
    char *stack;
    int   thread;            /* of the block, that it runs */
    int   turn;              /* exchanges of the thread so far */
    EmulatedWait waits;
};

/* What a host thread runs: a block at a time. */
struct Emulation {
    Fiber         fiber[THREADS_MAX];
    int           fibers;    /* made so far */
    int           current;   /* that runs */
    Place         scheduler;
    EmulatorBody *body;
    void         *closure;
    void         *shared;
    float         exchange[2][THREADS_MAX];  /* by turns, so that a slow thread finds the last's */
    int           threads, next;         /* next: to start, counted in the block's order */
    bool          backward;

    ~Emulation()
    {
        for (int i = 0; i < fibers; i++) munmap(fiber[i].stack, STACK_BYTES);
    }
};

static thread_local Emulation e;

#ifdef __SANITIZE_ADDRESS__
static thread_local const void *scheduler_stack;
static thread_local size_t      scheduler_bytes;

static void to_fiber(Fiber *f)
{
    void *fake;

    __sanitizer_start_switch_fiber(&fake, f->stack, STACK_BYTES);
    go(&e.scheduler, &f->place);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

static void to_scheduler(Fiber *f)
{
    void *fake;

    __sanitizer_start_switch_fiber(&fake, scheduler_stack, scheduler_bytes);
    go(&f->place, &e.scheduler);
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_bytes);
}

static void entered()
{
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_bytes);
}
#else
static void to_fiber(Fiber *f) { go(&e.scheduler, &f->place); }
static void to_scheduler(Fiber *f) { go(&f->place, &e.scheduler); }
static void entered() {}
#endif

static void set_thread(int thread)
{
    threadIdx.x = (unsigned)thread % blockDim.x;
    threadIdx.y = (unsigned)thread / blockDim.x % blockDim.y;
    threadIdx.z = (unsigned)thread / blockDim.x / blockDim.y;
}

/* A fiber takes the block's threads that nobody has begun, until one of them waits; that one it
 * keeps. */
static void fiber_main()
{
    entered();
    for (;;) {
        Fiber *f = &e.fiber[e.current];

        while (e.next < e.threads) {
            f->thread = e.backward ? e.threads - 1 - e.next : e.next;
            e.next++;
            f->turn = 0;
            set_thread(f->thread);
            e.body(e.closure);
        }
        f->waits = WAITS_NOT;
        to_scheduler(f);
    }
}

static void wait_for(EmulatedWait what)
{
    Fiber *f = &e.fiber[e.current];

    f->waits = what;
    to_scheduler(f);
    set_thread(f->thread);
}

void __syncthreads() { wait_for(WAITS_FOR_BLOCK); }

float __shfl_xor_sync(unsigned mask, float value, int lanes)
{
    Fiber *f = &e.fiber[e.current];
    int    turn = f->turn++ % 2;

    if (mask != 0xffffffffu || lanes >= 32 || e.threads % 32 != 0) {
        fprintf(stderr, "emulator: an exchange of less than whole warps\n");
        abort();
    }
    e.exchange[turn][f->thread] = value;
    wait_for(WAITS_FOR_WARP);
    return e.exchange[turn][f->thread ^ lanes];
}

void *emulator_shared() { return e.shared; }

static Fiber *fiber_at(int i)
{
    Fiber *f = &e.fiber[i];

    if (i < e.fibers) return f;
#ifdef __SANITIZE_ADDRESS__
    /* a thread's own, where another's stack has been */
    __asan_unpoison_memory_region(f, sizeof *f);
#endif
    f->stack = static_cast<char *>(mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (f->stack == MAP_FAILED) { perror("emulator: mmap"); abort(); }
    f->waits = WAITS_NOT;
    begin_at(&f->place, f->stack, fiber_main);
    e.fibers++;
    return f;
}

/* Whether one of the first count fibers waits for its warp: then whoever waits for the block goes
 * on waiting. */
static EmulatedWait next_of(int count)
{
    for (int i = 0; i < count; i++)
        if (e.fiber[i].waits == WAITS_FOR_WARP) return WAITS_FOR_WARP;
    return WAITS_FOR_BLOCK;
}

/* Round after round: every thread goes on to where it waits next or ends. One that ended is not
 * waited for, as on a GPU. Threads of a warp exchange in the same round. */
static void run_block()
{
    int waiting = 0;

    e.next = 0;
    for (int i = 0; e.next < e.threads; i++) {
        Fiber *f = fiber_at(i);

        e.current = i;
        to_fiber(f);
        if (f->waits) waiting = i + 1;
    }
    while (waiting > 0) {
        EmulatedWait next = next_of(waiting);
        int          still = 0;

        for (int i = 0; i < waiting; i++) {
            Fiber *f = &e.fiber[i];

            if (f->waits == next) {
                f->waits = WAITS_NOT;
                e.current = i;
                to_fiber(f);
            }
            if (f->waits) still = i + 1;
        }
        waiting = still;
    }
}

void emulator_run(dim3 blocks, dim3 threads, size_t bytes, EmulatorBody *body, void *closure)
{
    gridDim = blocks, blockDim = threads;
    e.body = body, e.closure = closure;
    e.threads = (int)(threads.x * threads.y * threads.z);
    e.shared = malloc(bytes ? bytes : 1);
    for (unsigned z = 0; z < blocks.z; z++)
        for (unsigned y = 0; y < blocks.y; y++)
            for (unsigned x = 0; x < blocks.x; x++) {
                blockIdx.x = x, blockIdx.y = y, blockIdx.z = z;
                e.backward = (x + y + z) % 2;
                memset(e.shared, 0xff, bytes);
                run_block();
            }
    free(e.shared);
    e.shared = nullptr;
}

bool emulator_accepts(dim3 b, dim3 t, size_t bytes)
{
    bool grid = b.x >= 1 && b.y >= 1 && b.z >= 1 && b.x <= 0x7fffffffu && b.y <= 65535
                && b.z <= 65535;
    bool block = t.x >= 1 && t.y >= 1 && t.z >= 1 && t.z <= 64
                 && (size_t)t.x * t.y * t.z <= THREADS_MAX;
    bool fits = grid && block && bytes <= SHARED_MAX;

    if (!fits) fake_fail(cudaErrorInvalidConfiguration);
    return fits;
}
