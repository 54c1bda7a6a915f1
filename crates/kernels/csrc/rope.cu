// Rotary position embedding: the table of a step's cosines and sines; and bias, normalization and rotation of queries and keys
// with the write of keys and values to their cache slots. One warp for each head of a row.
#include "numeric.cuh"

struct RopeTableArguments {
    const uint32_t* positions;  // [rows]
    const double* frequencies;  // [pairs], radians per position
    float* cosines;             // [rows, pairs]
    float* sines;               // [rows, pairs]
    uint32_t rows;
    uint32_t pairs;
    float magnitude;            // what every cosine and sine is multiplied by
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
    arguments.cosines[index] = cosf(angle) * arguments.magnitude;
    arguments.sines[index] = sinf(angle) * arguments.magnitude;
}

struct RopeKvWriteArguments {
    const void* query;        // [rows, heads * head_dim] of the activations' type
    const void* key;          // [rows, kv_heads * head_dim]
    const void* value;        // [rows, kv_heads * head_dim]
    const float* query_bias;  // [heads * head_dim], or null: nothing to add
    const float* key_bias;    // [kv_heads * head_dim], or null
    const float* value_bias;  // [kv_heads * head_dim], or null
    const float* query_norm;  // [head_dim], or null: heads stay as they are
    const float* key_norm;    // [head_dim], or null
    const float* cosines;     // [rows, pairs]
    const float* sines;       // [rows, pairs]
    const uint32_t* slots;    // [rows]
    const uint32_t* positions;  // [rows]
    void* rotated;            // [rows, heads * head_dim] of the activations' type
    void* key_cache;          // [slots, kv_heads, head_dim] of the cache's type
    void* value_cache;        // [slots, kv_heads, head_dim]
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t head_dim;        // at most 256
    uint32_t pairs;
    uint32_t halves;          // one where dimensions `i` and `i + pairs` turn together, else neighbours do
    uint32_t paired;          // one where heads are even and pointers aligned, so that two neighbours move at once
    float epsilon;
    float growth;             // zero, or how queries grow with the logarithm of the periods before their position
    uint32_t growth_period;   // at least one
};

// Twos of a head that a lane has: 32 lanes of them are the longest head.
constexpr int LANE_TWOS = 4;

// Two dimensions of a head that a lane moves together. Behind the last pair they are neighbours in any order, and where a head of
// an odd length ends there is only the first.
struct Two {
    uint32_t first, second;
    bool both;    // whether there is a second
    bool packed;  // whether one load brings both
};

DEVICE Two two_of(const RopeKvWriteArguments& arguments, uint32_t item) {
    const bool apart = arguments.halves != 0 && item < arguments.pairs;
    const uint32_t first = apart ? item : 2 * item, second = apart ? item + arguments.pairs : 2 * item + 1;
    return {first, second, second < arguments.head_dim, !apart && arguments.paired != 0};
}

struct Values {
    float first, second;
};

template <typename T>
DEVICE Values load_two(const T* head, Two two) {
    if (two.packed) {
        const Pack<T, 2> pack = *reinterpret_cast<const Pack<T, 2>*>(head + two.first);
        return {to_float(pack.items[0]), to_float(pack.items[1])};
    }
    return {to_float(head[two.first]), two.both ? to_float(head[two.second]) : 0.0f};
}

template <typename T>
DEVICE void store_two(T* head, Two two, Values values) {
    if (two.packed) {
        *reinterpret_cast<Pack<T, 2>*>(head + two.first) = {rounded<T>(values.first), rounded<T>(values.second)};
        return;
    }
    head[two.first] = rounded<T>(values.first);
    if (two.both) head[two.second] = rounded<T>(values.second);
}

// One head of query, key or value: where it is read, and what happens to it.
struct Head {
    const void* source;   // the rows that it belongs to
    const float* bias;    // of those rows, or null
    const float* norm;    // or null
    size_t start;         // of the head within its rows
    uint32_t width;       // of a row
    uint32_t within;      // of the head within its row
    bool is_query, turns;
};

DEVICE Head head_of(const RopeKvWriteArguments& arguments, size_t row, uint32_t index) {
    const bool is_query = index < arguments.heads, is_key = !is_query && index < arguments.heads + arguments.kv_heads;
    const uint32_t before = is_query ? 0 : is_key ? arguments.heads : arguments.heads + arguments.kv_heads;
    Head head;
    head.source = is_query ? arguments.query : is_key ? arguments.key : arguments.value;
    head.bias = is_query ? arguments.query_bias : is_key ? arguments.key_bias : arguments.value_bias;
    head.norm = is_query ? arguments.query_norm : is_key ? arguments.key_norm : nullptr;
    head.width = (is_query ? arguments.heads : arguments.kv_heads) * arguments.head_dim;
    head.within = (index - before) * arguments.head_dim;
    head.start = row * head.width + head.within;
    head.is_query = is_query;
    head.turns = is_query || is_key;
    return head;
}

// Scales the warp's head to a root mean square of one and multiplies it by its weight.
DEVICE void normalize(const RopeKvWriteArguments& arguments, const float* weight, uint32_t items,
                      Values (&values)[LANE_TWOS]) {
    const uint32_t lane = thread_x() % 32;
    float squares = 0.0f;
    UNROLL
    for (int i = 0; i < LANE_TWOS; ++i) {
        squares += values[i].first * values[i].first + values[i].second * values[i].second;
    }
    const float mean = warp_sum(squares) / static_cast<float>(arguments.head_dim);
    const float scale = 1.0f / sqrtf(mean + arguments.epsilon);
    UNROLL
    for (int i = 0; i < LANE_TWOS; ++i) {
        const uint32_t item = lane + 32 * i;
        if (item >= items) continue;
        const Two two = two_of(arguments, item);
        values[i].first *= scale * weight[two.first];
        if (two.both) values[i].second *= scale * weight[two.second];
    }
}

template <typename T, typename C>
DEVICE void rope_kv_write(const RopeKvWriteArguments& arguments) {
    const uint32_t index = (block_y() * threads_x() + thread_x()) / 32, lane = thread_x() % 32;
    // Whole warps leave: those that stay add up over full ones.
    if (index >= arguments.heads + 2 * arguments.kv_heads) return;
    const size_t row = block_x();
    const Head head = head_of(arguments, row, index);
    const uint32_t items = (arguments.head_dim + 1) / 2;
    const T* const source = static_cast<const T*>(head.source) + head.start;
    Values values[LANE_TWOS];
    UNROLL
    for (int i = 0; i < LANE_TWOS; ++i) {
        const uint32_t item = lane + 32 * i;
        values[i] = {0.0f, 0.0f};
        if (item >= items) continue;
        const Two two = two_of(arguments, item);
        values[i] = load_two(source, two);
        if (head.bias != nullptr) {
            values[i].first += head.bias[head.within + two.first];
            if (two.both) values[i].second += head.bias[head.within + two.second];
        }
    }
    if (head.norm != nullptr) normalize(arguments, head.norm, items, values);
    float growth = 1.0f;
    if (head.is_query && arguments.growth != 0.0f) {
        const uint32_t periods = arguments.positions[row] / arguments.growth_period;
        growth += arguments.growth * logf(static_cast<float>(periods) + 1.0f);
    }
    UNROLL
    for (int i = 0; i < LANE_TWOS; ++i) {
        const uint32_t item = lane + 32 * i;
        if (item >= items) continue;
        Values turned = values[i];
        if (head.turns && item < arguments.pairs) {
            const float cosine = arguments.cosines[row * arguments.pairs + item];
            const float sine = arguments.sines[row * arguments.pairs + item];
            turned = {turned.first * cosine - turned.second * sine, turned.first * sine + turned.second * cosine};
        }
        const Two two = two_of(arguments, item);
        if (head.is_query) {
            turned = {turned.first * growth, turned.second * growth};
            store_two(static_cast<T*>(arguments.rotated) + head.start, two, turned);
        } else {
            C* const cache = static_cast<C*>(head.turns ? arguments.key_cache : arguments.value_cache);
            const size_t slot = arguments.slots[row];
            store_two(cache + slot * head.width + head.within, two, turned);
        }
    }
}

KERNEL(rope_kv_write_f32_f32, RopeKvWriteArguments) { rope_kv_write<float, float>(arguments); }
KERNEL(rope_kv_write_f32_f16, RopeKvWriteArguments) { rope_kv_write<float, F16>(arguments); }
KERNEL(rope_kv_write_f32_bf16, RopeKvWriteArguments) { rope_kv_write<float, Bf16>(arguments); }
KERNEL(rope_kv_write_bf16_f32, RopeKvWriteArguments) { rope_kv_write<Bf16, float>(arguments); }
KERNEL(rope_kv_write_bf16_f16, RopeKvWriteArguments) { rope_kv_write<Bf16, F16>(arguments); }
KERNEL(rope_kv_write_bf16_bf16, RopeKvWriteArguments) { rope_kv_write<Bf16, Bf16>(arguments); }
