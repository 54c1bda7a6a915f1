// Runs a kernel's grid on the host: one block at a time, each of its threads a fiber with a stack of its own. Fibers switch at
// barriers and warp exchanges only. The order of warps between barriers, and of lanes between exchanges, is drawn from a seed, so
// that a result that depends on it shows: run a kernel with two seeds and compare.
#include "emulator.hpp"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace emulator {

Index3 thread_index, block_index, block_extent, grid_extent;

namespace {

constexpr size_t STACK_BYTES = 64 * 1024;
constexpr size_t SHARED_GUARD = 64;
constexpr unsigned char GUARD_BYTE = 0xA5;
// In every float type this byte repeated is no number, and as an index it is far outside of everything.
constexpr unsigned char NOISE_BYTE = 0xFF;

enum class State { Ready, AtBarrier, AtExchange, Done };

struct Fiber {
    // Where the fiber begins, and from then on where it waits: a jump costs a fraction of `swapcontext`, which asks the kernel
    // for the signal mask each time.
    ucontext_t beginning;
    jmp_buf place;
    bool begun;
    std::unique_ptr<unsigned char[]> stack;
    State state;
    uint64_t offered;
    Lanes received;
};

std::unordered_map<std::string, Body>& registry() {
    static auto& kernels = *new std::unordered_map<std::string, Body>;
    return kernels;
}

// Never destroyed: an emulated card may still run while the process ends.
std::vector<Fiber>& fibers = *new std::vector<Fiber>;
std::vector<unsigned char>& shared = *new std::vector<unsigned char>;
jmp_buf scheduler;
unsigned int current;
Body body;
const void* arguments;

// Functions that set a place to jump to keep no variables across it, so none can be lost.
void leave_fiber() {
    if (_setjmp(fibers[current].place) == 0) _longjmp(scheduler, 1);
}

void enter_fiber() {
    if (_setjmp(scheduler) != 0) return;
    if (fibers[current].begun) _longjmp(fibers[current].place, 1);
    fibers[current].begun = true;
    setcontext(&fibers[current].beginning);
}

void fiber_main() {
    body(arguments);
    fibers[current].state = State::Done;
    leave_fiber();
}

void wait_as(State state) {
    fibers[current].state = state;
    leave_fiber();
}

void resume(unsigned int index) {
    current = index;
    thread_index = {index % block_extent.x, index / block_extent.x % block_extent.y,
                    index / (block_extent.x * block_extent.y)};
    enter_fiber();
}

// Lets the warp of the threads from `first` to `last` go on when its lanes have all offered a value or returned.
bool complete_exchange(unsigned int first, unsigned int last) {
    unsigned int offering = 0, done = 0;
    for (unsigned int i = first; i < last; ++i) {
        offering += fibers[i].state == State::AtExchange;
        done += fibers[i].state == State::Done;
    }
    if (offering == 0 || offering + done != last - first) return false;
    Lanes lanes{};
    for (unsigned int i = first; i < last; ++i) {
        if (fibers[i].state == State::AtExchange) lanes.values[i - first] = fibers[i].offered;
    }
    for (unsigned int i = first; i < last; ++i) {
        if (fibers[i].state == State::AtExchange) {
            fibers[i].received = lanes;
            fibers[i].state = State::Ready;
        }
    }
    return true;
}

// Lets the block go on when all its threads are at the barrier or have returned.
bool complete_barrier(unsigned int threads) {
    unsigned int waiting = 0, done = 0;
    for (unsigned int i = 0; i < threads; ++i) {
        waiting += fibers[i].state == State::AtBarrier;
        done += fibers[i].state == State::Done;
    }
    if (waiting == 0 || waiting + done != threads) return false;
    for (unsigned int i = 0; i < threads; ++i) {
        if (fibers[i].state == State::AtBarrier) fibers[i].state = State::Ready;
    }
    return true;
}

uint64_t next_random(uint64_t& state) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state >> 33;
}

enum Outcome { OK = 0, UNKNOWN_KERNEL = 1, DEADLOCK = 2, SHARED_OVERRUN = 3 };

// A function of its own, because `getcontext` may return twice for all that the compiler knows, and no variable of a longer
// function is safe from that.
void prepare(Fiber& fiber) {
    fiber.state = State::Ready;
    fiber.begun = false;
    getcontext(&fiber.beginning);
    fiber.beginning.uc_stack.ss_sp = fiber.stack.get();
    fiber.beginning.uc_stack.ss_size = STACK_BYTES;
    fiber.beginning.uc_link = nullptr;
    makecontext(&fiber.beginning, fiber_main, 0);
}

void shuffle(std::vector<unsigned int>& order, uint64_t& random) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next_random(random) % i]);
}

// Runs a warp until its threads are all at a barrier or done, or wait for lanes that are; whether any ran.
bool run_warp(unsigned int first, unsigned int last, uint64_t& random) {
    std::vector<unsigned int> lanes(last - first);
    for (unsigned int i = first; i < last; ++i) lanes[i - first] = i;
    bool ran = false;
    do {
        shuffle(lanes, random);
        for (unsigned int index : lanes) {
            if (fibers[index].state != State::Ready) continue;
            resume(index);
            ran = true;
        }
    } while (complete_exchange(first, last));
    return ran;
}

// Between two barriers one warp after another runs as far as it can: a warp that should have waited for another one is then
// either far ahead of it or far behind.
int run_block(unsigned int threads, uint64_t& random) {
    std::vector<unsigned int> warps;
    for (unsigned int i = 0; i < threads; ++i) {
        prepare(fibers[i]);
        if (i % 32 == 0) warps.push_back(i);
    }
    for (;;) {
        shuffle(warps, random);
        bool ran = false, all_done = true;
        for (unsigned int first : warps) {
            ran = run_warp(first, std::min(first + 32, threads), random) || ran;
        }
        for (unsigned int i = 0; i < threads; ++i) all_done = all_done && fibers[i].state == State::Done;
        if (all_done) return OK;
        if (!complete_barrier(threads) && !ran) return DEADLOCK;
    }
}

}  // namespace

unsigned char* shared_memory() { return shared.data(); }

void barrier() { wait_as(State::AtBarrier); }

Lanes exchange(uint64_t value) {
    const unsigned int self = current;
    fibers[self].offered = value;
    wait_as(State::AtExchange);
    return fibers[self].received;
}

Registration::Registration(const char* name, Body kernel) { registry()[name] = kernel; }

}  // namespace emulator

// Runs a whole grid. The arguments are the kernel's one struct. Not reentrant: the caller holds a lock.
extern "C" int sconce_emulator_launch(const char* name, const unsigned int grid[3], unsigned int threads,
                                      unsigned int shared_bytes, const void* kernel_arguments, uint64_t seed) {
    using namespace emulator;
    const auto found = registry().find(name);
    if (found == registry().end()) return UNKNOWN_KERNEL;
    body = found->second;
    arguments = kernel_arguments;
    block_extent = {threads, 1, 1};
    grid_extent = {grid[0], grid[1], grid[2]};
    while (fibers.size() < threads) {
        fibers.emplace_back();
        fibers.back().stack = std::make_unique<unsigned char[]>(STACK_BYTES);
    }
    shared.assign(shared_bytes + SHARED_GUARD, GUARD_BYTE);
    uint64_t random = seed;
    for (unsigned int z = 0; z < grid[2]; ++z) {
        for (unsigned int y = 0; y < grid[1]; ++y) {
            for (unsigned int x = 0; x < grid[0]; ++x) {
                block_index = {x, y, z};
                // Shared memory holds whatever an earlier block left; here it holds noise that no kernel may rely on.
                std::memset(shared.data(), NOISE_BYTE, shared_bytes);
                const int outcome = run_block(threads, random);
                if (outcome != OK) return outcome;
                for (size_t i = 0; i < SHARED_GUARD; ++i) {
                    if (shared[shared_bytes + i] != GUARD_BYTE) return SHARED_OVERRUN;
                }
            }
        }
    }
    return OK;
}

// The registered kernels' names, separated by line ends.
extern "C" const char* sconce_emulator_kernels() {
    static std::string names;
    names.clear();
    for (const auto& kernel : emulator::registry()) {
        names += kernel.first;
        names += '\n';
    }
    return names.c_str();
}
