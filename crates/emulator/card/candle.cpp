// The kernels of candle 0.11.1 (candle-kernels: cast.cu, fill.cu, unary.cu) that Sconce's path launches, with their parameters, for
// the host. Layouts arrive as [dims | strides], or null for a contiguous one.
#include "card.hpp"
#include "numeric.cuh"

#include <cstring>
#include <unordered_map>

namespace card {

namespace {

template <typename T>
T argument(const Kernel& kernel, const unsigned char* arguments, size_t index) {
    T value;
    std::memcpy(&value, arguments + kernel.parameters.at(index).offset, sizeof(T));
    return value;
}

// Where element `index` of a layout lies.
size_t strided(size_t index, size_t dimensions, const size_t* info) {
    if (!info) return index;
    size_t place = 0;
    for (size_t d = dimensions; d-- > 0;) {
        place += index % info[d] * info[dimensions + d];
        index /= info[d];
    }
    return place;
}

template <typename T>
constexpr bool IS_SHORT = std::is_same<T, Bf16>::value || std::is_same<T, F16>::value;

template <typename From, typename To>
To converted(From value) {
    if constexpr (std::is_same<From, To>::value) {
        return value;
    } else if constexpr (IS_SHORT<From>) {
        return converted<float, To>(to_float(value));
    } else if constexpr (IS_SHORT<To>) {
        return rounded<To>(static_cast<float>(value));
    } else {
        return static_cast<To>(value);
    }
}

// (numel, num_dims, info, source, target): casts, and with one type the copy of a layout.
template <typename From, typename To>
void cast(const Kernel& kernel, const unsigned char* arguments) {
    const auto count = argument<size_t>(kernel, arguments, 0);
    const auto dimensions = argument<size_t>(kernel, arguments, 1);
    const auto* info = argument<const size_t*>(kernel, arguments, 2);
    const auto* source = argument<const From*>(kernel, arguments, 3);
    auto* target = argument<To*>(kernel, arguments, 4);
    for (size_t i = 0; i < count; ++i) target[i] = converted<From, To>(source[strided(i, dimensions, info)]);
}

// (numel, num_dims, info, value, target)
template <typename T>
void set(const Kernel& kernel, const unsigned char* arguments) {
    const auto count = argument<size_t>(kernel, arguments, 0);
    const auto dimensions = argument<size_t>(kernel, arguments, 1);
    const auto* info = argument<const size_t*>(kernel, arguments, 2);
    const T value = argument<T>(kernel, arguments, 3);
    auto* target = argument<T*>(kernel, arguments, 4);
    for (size_t i = 0; i < count; ++i) target[strided(i, dimensions, info)] = value;
}

// (source, target, rows, columns, source stride, target stride)
template <typename T>
void copy_rows(const Kernel& kernel, const unsigned char* arguments) {
    const auto* source = argument<const T*>(kernel, arguments, 0);
    auto* target = argument<T*>(kernel, arguments, 1);
    const auto rows = argument<uint32_t>(kernel, arguments, 2), columns = argument<uint32_t>(kernel, arguments, 3);
    const size_t from = argument<uint32_t>(kernel, arguments, 4), to = argument<uint32_t>(kernel, arguments, 5);
    for (size_t row = 0; row < rows; ++row) std::memcpy(target + row * to, source + row * from, columns * sizeof(T));
}

using Kernels = std::unordered_map<std::string, CandleKernel>;

template <typename T>
void add_type(Kernels& kernels, const std::string& type) {
    kernels["cast_" + type + "_f32"] = cast<T, float>;
    kernels["cast_" + type + "_f16"] = cast<T, F16>;
    kernels["cast_" + type + "_bf16"] = cast<T, Bf16>;
    kernels["ucopy_" + type] = cast<T, T>;
    kernels["const_set_" + type] = set<T>;
    kernels["copy2d_" + type] = copy_rows<T>;
}

Kernels all() {
    Kernels kernels;
    add_type<float>(kernels, "f32");
    add_type<F16>(kernels, "f16");
    add_type<Bf16>(kernels, "bf16");
    add_type<uint32_t>(kernels, "u32");
    add_type<uint8_t>(kernels, "u8");
    add_type<double>(kernels, "f64");
    return kernels;
}

}  // namespace

CandleKernel candle_kernel(const std::string& name) {
    static const Kernels& kernels = *new Kernels(all());
    const auto found = kernels.find(name);
    return found == kernels.end() ? nullptr : found->second;
}

}  // namespace card
