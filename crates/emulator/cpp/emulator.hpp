// What the kernels see of CUDA when they are compiled for the host. Each CUDA thread is a fiber; blocks run one after another.
// A kernel reaches this through platform.cuh only.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulator {

struct Index3 {
    unsigned int x, y, z;
};

extern Index3 thread_index, block_index, block_extent, grid_extent;

// The block's dynamic shared memory.
unsigned char* shared_memory();

// Waits for all threads of the block that have not returned.
void barrier();

// Gives every lane of the warp what each lane holds: `all[lane]`. Every lane that has not returned must call it.
struct Lanes {
    uint64_t values[32];
};
Lanes exchange(uint64_t value);

using Body = void (*)(const void* arguments);

struct Registration {
    Registration(const char* name, Body body);
};

}  // namespace emulator
