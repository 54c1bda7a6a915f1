// CUDA's words as the kernels use them, for nvcc and for the host compiler. Every kernel takes one struct of arguments by value.
#pragma once

#include <cstdint>

#ifdef __CUDACC__

#define DEVICE __device__ __forceinline__
#define BOTH __host__ __device__ __forceinline__

// Unrolls the loop that follows, so that arrays which it indexes stay in registers.
#define UNROLL _Pragma("unroll")

// Opens a kernel: KERNEL(name, Arguments) { … arguments.field … }
#define KERNEL(name, Arguments) extern "C" __global__ void name(const Arguments arguments)

// The same for a kernel whose blocks have at most so many threads: the compiler keeps to the registers that they leave.
#define KERNEL_WITHIN(threads, name, Arguments) \
    extern "C" __global__ void __launch_bounds__(threads) name(const Arguments arguments)

// The block's dynamic shared memory as an array of a type.
#define SHARED(type, name)                                      \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared)

DEVICE unsigned int thread_x() { return threadIdx.x; }
DEVICE unsigned int threads_x() { return blockDim.x; }
DEVICE unsigned int block_x() { return blockIdx.x; }
DEVICE unsigned int block_y() { return blockIdx.y; }
DEVICE unsigned int block_z() { return blockIdx.z; }
DEVICE unsigned int blocks_x() { return gridDim.x; }
DEVICE unsigned int blocks_y() { return gridDim.y; }
DEVICE unsigned int blocks_z() { return gridDim.z; }

DEVICE void barrier() { __syncthreads(); }

// Waits for the lanes of a full warp: what they wrote to shared memory is seen by all of them behind it.
DEVICE void warp_barrier() { __syncwarp(); }

// The upper half of a product.
DEVICE uint64_t high_product(uint64_t left, uint64_t right) { return __umul64hi(left, right); }

// The value of lane `lane ^ mask` of a full warp.
template <typename T>
DEVICE T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

// The value of the given lane of a full warp.
template <typename T>
DEVICE T shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}

// A value from `delta` lanes below; one's own where there is none.
template <typename T>
DEVICE T shuffle_up(T value, int delta) {
    return __shfl_up_sync(0xffffffffu, value, delta);
}

#else

#include "emulator.hpp"

#define DEVICE inline
#define BOTH inline
#define UNROLL

#define KERNEL(name, Arguments)                                                                        \
    static void name##_body(const Arguments& arguments);                                               \
    static const emulator::Registration name##_registration(                                           \
        #name, [](const void* pointer) { name##_body(*static_cast<const Arguments*>(pointer)); });     \
    static void name##_body(const Arguments& arguments)

#define KERNEL_WITHIN(threads, name, Arguments) KERNEL(name, Arguments)

#define SHARED(type, name) type* const name = reinterpret_cast<type*>(emulator::shared_memory())

DEVICE unsigned int thread_x() { return emulator::thread_index.x; }
DEVICE unsigned int threads_x() { return emulator::block_extent.x; }
DEVICE unsigned int block_x() { return emulator::block_index.x; }
DEVICE unsigned int block_y() { return emulator::block_index.y; }
DEVICE unsigned int block_z() { return emulator::block_index.z; }
DEVICE unsigned int blocks_x() { return emulator::grid_extent.x; }
DEVICE unsigned int blocks_y() { return emulator::grid_extent.y; }
DEVICE unsigned int blocks_z() { return emulator::grid_extent.z; }

DEVICE void barrier() { emulator::barrier(); }

DEVICE void warp_barrier() { emulator::exchange(0); }

DEVICE uint64_t high_product(uint64_t left, uint64_t right) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(left) * right >> 64);
}

template <typename T>
DEVICE T exchanged(T value, unsigned int lane) {
    static_assert(sizeof(T) <= 8, "a lane holds at most eight bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    const emulator::Lanes lanes = emulator::exchange(bits);
    T result;
    std::memcpy(&result, &lanes.values[lane], sizeof(T));
    return result;
}

template <typename T>
DEVICE T shuffle_xor(T value, int mask) {
    return exchanged(value, (emulator::thread_index.x % 32) ^ static_cast<unsigned int>(mask));
}

template <typename T>
DEVICE T shuffle(T value, int lane) {
    return exchanged(value, static_cast<unsigned int>(lane) % 32);
}

template <typename T>
DEVICE T shuffle_up(T value, int delta) {
    const int lane = static_cast<int>(emulator::thread_index.x % 32);
    return exchanged(value, static_cast<unsigned int>(lane >= delta ? lane - delta : lane));
}

// As CUDA's: fibers switch at barriers and exchanges only, so a plain addition is atomic.
template <typename T>
DEVICE T atomicAdd(T* place, T value) {
    const T before = *place;
    *place = before + value;
    return before;
}

template <typename T>
DEVICE T atomicMin(T* place, T value) {
    const T before = *place;
    if (value < before) *place = value;
    return before;
}

template <typename T>
DEVICE T atomicMax(T* place, T value) {
    const T before = *place;
    if (value > before) *place = value;
    return before;
}

#endif

// The sum over a full warp, in every lane.
template <typename T>
DEVICE T warp_sum(T value) {
    for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
}

DEVICE float warp_max(float value) {
    for (int mask = 16; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
    return value;
}

// The sum over the block, in every thread. `scratch` holds a number for each warp; blocks are whole warps.
DEVICE float block_sum(float value, float* scratch) {
    const unsigned int warp = thread_x() / 32, lane = thread_x() % 32, warps = threads_x() / 32;
    value = warp_sum(value);
    barrier();
    if (lane == 0) scratch[warp] = value;
    barrier();
    float sum = 0.0f;
    for (unsigned int i = 0; i < warps; ++i) sum += scratch[i];
    return sum;
}

// What a value has before it, and the sum of all.
template <typename T>
struct Scan {
    T before, total;
};

// Adds up the block's values in the order of its threads. `scratch` holds a number for each warp.
template <typename T>
DEVICE Scan<T> block_scan(T value, T* scratch) {
    const unsigned int warp = thread_x() / 32, lane = thread_x() % 32, warps = threads_x() / 32;
    T through = value;
    for (int delta = 1; delta < 32; delta *= 2) {
        const T below = shuffle_up(through, delta);
        if (static_cast<int>(lane) >= delta) through += below;
    }
    barrier();
    if (lane == 31) scratch[warp] = through;
    barrier();
    Scan<T> scan = {through - value, 0};
    for (unsigned int i = 0; i < warps; ++i) {
        if (i < warp) scan.before += scratch[i];
        scan.total += scratch[i];
    }
    return scan;
}

// The least value of the block, in every thread. `scratch` holds a number for each warp.
template <typename T>
DEVICE T block_least(T value, T* scratch) {
    const unsigned int warp = thread_x() / 32, lane = thread_x() % 32, warps = threads_x() / 32;
    for (int mask = 16; mask > 0; mask /= 2) {
        const T other = shuffle_xor(value, mask);
        if (other < value) value = other;
    }
    barrier();
    if (lane == 0) scratch[warp] = value;
    barrier();
    T least = scratch[0];
    for (unsigned int i = 1; i < warps; ++i) {
        if (scratch[i] < least) least = scratch[i];
    }
    return least;
}
