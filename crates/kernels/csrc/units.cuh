// Copies of bytes in units as wide as alignment allows; the launch plan chooses the width.
#pragma once

#include "numeric.cuh"

using Unit2 = Pack<uint16_t, 1>;
using Unit4 = Pack<uint32_t, 1>;
using Unit8 = Pack<uint32_t, 2>;
using Unit16 = Pack<uint32_t, 4>;

// Copies that do not overlap, by all blocks along y. Four loads are under way before the first store.
template <typename Unit>
DEVICE void copy_units(const Unit* source, Unit* destination, size_t count) {
    const size_t step = static_cast<size_t>(blocks_y()) * threads_x();
    size_t i = static_cast<size_t>(block_y()) * threads_x() + thread_x();
    for (; i + 3 * step < count; i += 4 * step) {
        const Unit a = source[i], b = source[i + step], c = source[i + 2 * step], d = source[i + 3 * step];
        destination[i] = a;
        destination[i + step] = b;
        destination[i + 2 * step] = c;
        destination[i + 3 * step] = d;
    }
    for (; i < count; i += step) destination[i] = source[i];
}
