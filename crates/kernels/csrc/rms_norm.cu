// Adds a residual and normalizes rows to a root mean square of one. One block for each row.
#include "numeric.cuh"

struct RmsNormArguments {
    const float* base;        // [rows, width]: the residual stream
    const void* update;       // [rows, width] of the activations' type, or null: nothing to add
    const float* weight;      // [width]
    void* normed;             // [rows, width] of the activations' type
    float* sum;               // [rows, width]: base + update; not written without an update
    uint32_t width;
    float epsilon;
};

template <typename T>
DEVICE void rms_norm(const RmsNormArguments& arguments) {
    SHARED(float, scratch);
    const uint32_t width = arguments.width;
    const size_t start = static_cast<size_t>(block_x()) * width;
    const T* const update = static_cast<const T*>(arguments.update);
    float squares = 0.0f;
    for (uint32_t i = thread_x(); i < width; i += threads_x()) {
        float value = arguments.base[start + i];
        if (update != nullptr) {
            value += to_float(update[start + i]);
            arguments.sum[start + i] = value;
        }
        squares += value * value;
    }
    const float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(width) + arguments.epsilon);
    // Each thread reads again what it read or wrote itself.
    const float* const row = (update != nullptr ? arguments.sum : arguments.base) + start;
    T* const normed = static_cast<T*>(arguments.normed);
    for (uint32_t i = thread_x(); i < width; i += threads_x()) {
        normed[start + i] = rounded<T>(row[i] * scale * arguments.weight[i]);
    }
}

KERNEL(rms_norm_f32, RmsNormArguments) { rms_norm<float>(arguments); }
KERNEL(rms_norm_bf16, RmsNormArguments) { rms_norm<Bf16>(arguments); }
