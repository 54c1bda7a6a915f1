// The gate of the feed-forward network, element by element: packs of 16 bytes, then what is left.
#include "numeric.cuh"

struct SiluMulArguments {
    const void* gate;  // [count] of the activations' type
    const void* up;    // [count]
    void* output;      // [count]
    uint64_t count;
    uint64_t packs;    // packs that are read at once; none where a pointer is not aligned for it
};

DEVICE float gated(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }

template <typename T>
DEVICE void silu_mul(const SiluMulArguments& arguments) {
    using Vector = Pack<T, PACK<T>>;
    const size_t index = static_cast<size_t>(block_x()) * threads_x() + thread_x();
    if (index < arguments.packs) {
        const Vector gates = static_cast<const Vector*>(arguments.gate)[index];
        const Vector ups = static_cast<const Vector*>(arguments.up)[index];
        Vector result;
        for (int i = 0; i < PACK<T>; ++i) {
            result.items[i] = rounded<T>(gated(to_float(gates.items[i]), to_float(ups.items[i])));
        }
        static_cast<Vector*>(arguments.output)[index] = result;
    }
    const size_t rest = arguments.packs * PACK<T> + index;
    if (rest < arguments.count) {
        const float gate = to_float(static_cast<const T*>(arguments.gate)[rest]);
        const float up = to_float(static_cast<const T*>(arguments.up)[rest]);
        static_cast<T*>(arguments.output)[rest] = rounded<T>(gated(gate, up));
    }
}

KERNEL(silu_mul_f32, SiluMulArguments) { silu_mul<float>(arguments); }
KERNEL(silu_mul_bf16, SiluMulArguments) { silu_mul<Bf16>(arguments); }
