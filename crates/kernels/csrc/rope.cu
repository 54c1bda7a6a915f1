// Rotary position embedding: the table of a step's cosines and sines, and the rotation of queries and keys with the write of
// keys and values to their cache slots. One thread for each pair of neighbours.
#include "numeric.cuh"

struct RopeTableArguments {
    const uint32_t* positions;  // [rows]
    const double* frequencies;  // [pairs], radians per position
    float* cosines;             // [rows, pairs]
    float* sines;               // [rows, pairs]
    uint32_t rows;
    uint32_t pairs;
};

// The angle `position * frequency` brought to -pi..pi. In double precision: a position of a long context times a frequency
// near one has more digits than a float holds, and all of them matter.
BOTH float reduced_angle(uint32_t position, double frequency) {
    const double angle = static_cast<double>(position) * frequency;
    return static_cast<float>(angle - 6.283185307179586476925 * rint(angle * 0.1591549430918953357689));
}

KERNEL(rope_table, RopeTableArguments) {
    const size_t index = static_cast<size_t>(block_x()) * threads_x() + thread_x();
    if (index >= static_cast<size_t>(arguments.rows) * arguments.pairs) return;
    const uint32_t row = static_cast<uint32_t>(index / arguments.pairs);
    const uint32_t pair = static_cast<uint32_t>(index % arguments.pairs);
    const float angle = reduced_angle(arguments.positions[row], arguments.frequencies[pair]);
    arguments.cosines[index] = cosf(angle);
    arguments.sines[index] = sinf(angle);
}

struct RopeKvWriteArguments {
    const void* query;      // [rows, heads * head_dim] of the activations' type
    const void* key;        // [rows, kv_heads * head_dim]
    const void* value;      // [rows, kv_heads * head_dim]
    const float* cosines;   // [rows, pairs]
    const float* sines;     // [rows, pairs]
    const uint32_t* slots;  // [rows]
    void* rotated;          // [rows, heads * head_dim] of the activations' type
    void* key_cache;        // [slots, kv_heads, head_dim] of the cache's type
    void* value_cache;      // [slots, kv_heads, head_dim]
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t head_dim;
    uint32_t pairs;
    uint32_t paired;        // one where heads are even and pointers aligned, so that two neighbours move at once
};

struct Neighbours {
    float even, odd;
};

// Two neighbours, or one where a head of an odd length ends.
template <typename T>
DEVICE Neighbours load_neighbours(const T* place, bool paired, bool both) {
    if (paired) {
        const Pack<T, 2> two = *reinterpret_cast<const Pack<T, 2>*>(place);
        return {to_float(two.items[0]), to_float(two.items[1])};
    }
    return {to_float(place[0]), both ? to_float(place[1]) : 0.0f};
}

template <typename T>
DEVICE void store_neighbours(T* place, Neighbours values, bool paired, bool both) {
    if (paired) {
        *reinterpret_cast<Pack<T, 2>*>(place) = {rounded<T>(values.even), rounded<T>(values.odd)};
        return;
    }
    place[0] = rounded<T>(values.even);
    if (both) place[1] = rounded<T>(values.odd);
}

template <typename T, typename C>
DEVICE void rope_kv_write(const RopeKvWriteArguments& arguments) {
    const uint32_t per_head = (arguments.head_dim + 1) / 2;
    const uint32_t query_items = arguments.heads * per_head, key_items = arguments.kv_heads * per_head;
    uint32_t item = block_y() * threads_x() + thread_x();
    if (item >= query_items + 2 * key_items) return;
    const bool is_query = item < query_items;
    const bool is_key = !is_query && item < query_items + key_items;
    item -= is_query ? 0 : is_key ? query_items : query_items + key_items;
    const uint32_t head = item / per_head, pair = item % per_head;
    const size_t row = block_x();
    const size_t within = static_cast<size_t>(head) * arguments.head_dim + 2 * pair;
    const size_t width = static_cast<size_t>(is_query ? arguments.heads : arguments.kv_heads) * arguments.head_dim;
    const bool paired = arguments.paired != 0, both = 2 * pair + 1 < arguments.head_dim;
    const void* const source = is_query ? arguments.query : is_key ? arguments.key : arguments.value;
    Neighbours values = load_neighbours(static_cast<const T*>(source) + row * width + within, paired, both);
    if ((is_query || is_key) && pair < arguments.pairs) {
        const float cosine = arguments.cosines[row * arguments.pairs + pair];
        const float sine = arguments.sines[row * arguments.pairs + pair];
        values = {values.even * cosine - values.odd * sine, values.even * sine + values.odd * cosine};
    }
    if (is_query) {
        store_neighbours(static_cast<T*>(arguments.rotated) + row * width + within, values, paired, both);
    } else {
        C* const cache = static_cast<C*>(is_key ? arguments.key_cache : arguments.value_cache);
        store_neighbours(cache + arguments.slots[row] * width + within, values, paired, both);
    }
}

KERNEL(rope_kv_write_f32_f32, RopeKvWriteArguments) { rope_kv_write<float, float>(arguments); }
KERNEL(rope_kv_write_f32_f16, RopeKvWriteArguments) { rope_kv_write<float, F16>(arguments); }
KERNEL(rope_kv_write_f32_bf16, RopeKvWriteArguments) { rope_kv_write<float, Bf16>(arguments); }
KERNEL(rope_kv_write_bf16_f32, RopeKvWriteArguments) { rope_kv_write<Bf16, float>(arguments); }
KERNEL(rope_kv_write_bf16_f16, RopeKvWriteArguments) { rope_kv_write<Bf16, F16>(arguments); }
KERNEL(rope_kv_write_bf16_bf16, RopeKvWriteArguments) { rope_kv_write<Bf16, Bf16>(arguments); }
