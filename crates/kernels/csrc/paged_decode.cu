// Attention of sequences that bring one row. The keys of a sequence are split over blocks, and those of a split over warps; each
// warp takes tiles of 32 keys for all query heads of the key head at once, with a running maximum (online softmax). Warps are
// merged in shared memory, splits by a second kernel. How many splits there are does not depend on how many keys there are, so
// that a captured graph stays good while sequences grow; what they share is what the row sees at the time of the launch.
#include "attention.cuh"

// Bytes of a key in shared memory: an odd number of 16 bytes, so that 32 lanes which each read their own key meet all banks.
BOTH uint32_t key_bytes(uint32_t head_dim, uint32_t element_bytes) {
    const uint32_t units = (head_dim * element_bytes + 15) / 16;
    return (units | 1u) * 16;
}

// Floats of a query in shared memory: whole packs of every cache type.
BOTH uint32_t query_floats(uint32_t head_dim) { return (head_dim + 7) / 8 * 8; }

// The shared memory of a block of `warps` warps.
template <typename C, int HEADS>
struct DecodeShared {
    float* queries;  // [HEADS, query_floats], scaled, zeros behind the head
    float* shares;   // of this warp: [HEADS, KEY_TILE] weights of a tile's keys; at the end maximum and weight of each head
    size_t* starts;  // of this warp: [KEY_TILE]
    C* keys;         // of this warp: [KEY_TILE, stride]; at the end its sums, [HEADS, head_dim] floats
    uint32_t stride;

    DEVICE DecodeShared(unsigned char* base, uint32_t head_dim, uint32_t warp, uint32_t warps) {
        unsigned char* const shares_base = base + HEADS * query_floats(head_dim) * 4;
        unsigned char* const starts_base = shares_base + warps * HEADS * KEY_TILE * 4;
        unsigned char* const keys_base = starts_base + warps * KEY_TILE * 8;
        const uint32_t bytes = key_bytes(head_dim, sizeof(C));
        queries = reinterpret_cast<float*>(base);
        shares = reinterpret_cast<float*>(shares_base) + warp * HEADS * KEY_TILE;
        starts = reinterpret_cast<size_t*>(starts_base) + warp * KEY_TILE;
        keys = reinterpret_cast<C*>(keys_base + warp * KEY_TILE * bytes);
        stride = bytes / sizeof(C);
    }

    DEVICE float* sums() { return reinterpret_cast<float*>(keys); }
};

// What one warp has of each head: lane `i` holds dimensions `i * DIMS` on, and the weight of its own keys.
template <int HEADS, int DIMS>
struct WarpState {
    float highest[HEADS], weight[HEADS], sums[HEADS][DIMS];
};

// The scores of one key of the tile with every head.
template <typename C, int HEADS>
DEVICE void score(const DecodeShared<C, HEADS>& shared, uint32_t key, uint32_t head_dim, float (&scores)[HEADS]) {
    const uint32_t query_stride = query_floats(head_dim);
    const uint32_t packs = (head_dim + PACK<C> - 1) / PACK<C>;
    const Pack<C, PACK<C>>* const row = reinterpret_cast<const Pack<C, PACK<C>>*>(shared.keys + key * shared.stride);
    UNROLL
    for (int head = 0; head < HEADS; ++head) scores[head] = 0.0f;
    for (uint32_t pack = 0; pack < packs; ++pack) {
        const Pack<C, PACK<C>> keys = row[pack];
        UNROLL
        for (int four = 0; four < PACK<C>; four += 4) {
            UNROLL
            for (int head = 0; head < HEADS; ++head) {
                const float* const place = shared.queries + head * query_stride + pack * PACK<C> + four;
                const Pack<float, 4> query = *reinterpret_cast<const Pack<float, 4>*>(place);
                UNROLL
                for (int i = 0; i < 4; ++i) scores[head] += query.items[i] * to_float(keys.items[four + i]);
            }
        }
    }
}

template <typename C, int DIMS>
DEVICE Pack<C, DIMS> load_values(const C* place, uint32_t rest, bool vectors) {
    if (vectors) return *reinterpret_cast<const Pack<C, DIMS>*>(place);
    Pack<C, DIMS> values;
    UNROLL
    for (int i = 0; i < DIMS; ++i) {
        values.items[i] = static_cast<uint32_t>(i) < rest ? place[i] : rounded<C>(0.0f);
    }
    return values;
}

// Adds the tile's values, each by its share. Keys that the row does not see have a share of zero and the place of one it sees.
template <typename C, int HEADS, int DIMS>
DEVICE void add_values(const AttentionArguments& arguments, const DecodeShared<C, HEADS>& shared, uint32_t keys,
                       WarpState<HEADS, DIMS>& state) {
    const uint32_t first = thread_x() % 32 * DIMS;
    if (first >= arguments.head_dim) return;
    const C* const values = static_cast<const C*>(arguments.value_cache) + first;
    const uint32_t rest = arguments.head_dim - first;
    for (uint32_t key = 0; key < keys; key += 4) {
        Pack<C, DIMS> held[4];
        UNROLL
        for (int i = 0; i < 4; ++i) {
            held[i] = load_values<C, DIMS>(values + shared.starts[key + i], rest, arguments.vectors != 0);
        }
        UNROLL
        for (int head = 0; head < HEADS; ++head) {
            const float* const place = shared.shares + head * KEY_TILE + key;
            const Pack<float, 4> share = *reinterpret_cast<const Pack<float, 4>*>(place);
            UNROLL
            for (int i = 0; i < 4; ++i) {
                UNROLL
                for (int dim = 0; dim < DIMS; ++dim) {
                    state.sums[head][dim] += share.items[i] * to_float(held[i].items[dim]);
                }
            }
        }
    }
}

// Takes the `keys` keys from position `tile` on into the warp's state, without those before `visible`; at least one is left.
template <typename C, int HEADS, int DIMS>
DEVICE void decode_tile(const AttentionArguments& arguments, const DecodeShared<C, HEADS>& shared, const uint32_t* table,
                        uint32_t kv_head, uint32_t tile, uint32_t keys, uint32_t visible, WarpState<HEADS, DIMS>& state) {
    const uint32_t lane = thread_x() % 32;
    const bool seen = lane < keys && tile + lane >= visible;
    const uint32_t position = seen ? tile + lane : tile + keys - 1;
    shared.starts[lane] =
        key_start(table, position, arguments.block_size, arguments.kv_heads, kv_head, arguments.head_dim);
    warp_barrier();
    load_rows<C>(static_cast<const C*>(arguments.key_cache), shared.starts, arguments.head_dim, arguments.vectors != 0,
                 shared.keys, shared.stride, lane, 32);
    warp_barrier();
    float scores[HEADS];
    score(shared, lane, arguments.head_dim, scores);
    UNROLL
    for (int head = 0; head < HEADS; ++head) {
        const float own = seen ? scores[head] : -INFINITY;
        const float highest = fmaxf(state.highest[head], warp_max(own));
        const float share = exp2f(own - highest), shrink = exp2f(state.highest[head] - highest);
        state.highest[head] = highest;
        state.weight[head] = state.weight[head] * shrink + share;
        UNROLL
        for (int dim = 0; dim < DIMS; ++dim) state.sums[head][dim] *= shrink;
        shared.shares[head * KEY_TILE + lane] = share;
    }
    warp_barrier();
    add_values(arguments, shared, keys, state);
    warp_barrier();
}

// Leaves the warp's state in shared memory for the others.
template <typename C, int HEADS, int DIMS>
DEVICE void leave_state(DecodeShared<C, HEADS>& shared, uint32_t head_dim, const WarpState<HEADS, DIMS>& state) {
    const uint32_t lane = thread_x() % 32;
    UNROLL
    for (int head = 0; head < HEADS; ++head) {
        const float weight = warp_sum(state.weight[head]);
        if (lane == 0) {
            shared.shares[head * KEY_TILE] = state.highest[head];
            shared.shares[head * KEY_TILE + 1] = weight;
        }
        UNROLL
        for (int dim = 0; dim < DIMS; ++dim) {
            const uint32_t at = lane * DIMS + dim;
            if (at < head_dim) shared.sums()[head * head_dim + at] = state.sums[head][dim];
        }
    }
}

// Sums of several parts of the keys, each relative to its own highest score.
struct Merged {
    float highest, weight, sum;

    // Parts without keys have no weight; their sum and highest score are not to be looked at.
    DEVICE void add(float part_highest, float part_weight, float part_sum) {
        if (part_weight <= 0.0f) return;
        const float together = fmaxf(highest, part_highest);
        const float own = exp2f(highest - together), others = exp2f(part_highest - together);
        weight = weight * own + part_weight * others;
        sum = sum * own + part_sum * others;
        highest = together;
    }

    // A sequence without keys has zeros.
    DEVICE float value() const { return weight > 0.0f ? sum / weight : 0.0f; }
};

template <typename C, int DIMS, int HEADS>
DEVICE void paged_decode(const AttentionArguments& arguments) {
    SHARED(unsigned char, base);
    const uint32_t warp = thread_x() / 32, lane = thread_x() % 32, warps = threads_x() / 32;
    const uint32_t split = block_x(), sequence = arguments.work[block_z()], head_dim = arguments.head_dim;
    const HeadRange heads = head_range(block_y(), arguments.group, arguments.heads_per_block);
    const uint32_t all_heads = arguments.kv_heads * arguments.group;
    const size_t row = arguments.cu_seqlens_q[sequence];
    const bool bf16 = arguments.bf16 != 0;
    DecodeShared<C, HEADS> shared(base, head_dim, warp, warps);
    for (uint32_t head = warp; head < HEADS; head += warps) {
        const size_t start = (row * all_heads + heads.first + head) * head_dim;
        for (uint32_t dim = lane; dim < query_floats(head_dim); dim += 32) {
            const bool real = head < heads.count && dim < head_dim;
            const float query = real ? load_activation(arguments.query, start + dim, bf16) * arguments.scale : 0.0f;
            shared.queries[head * query_floats(head_dim) + dim] = query;
        }
    }
    // What lies between the end of a key and that of its last pack is read as well.
    for (uint32_t dim = head_dim; dim < (head_dim + PACK<C> - 1) / PACK<C> * PACK<C>; ++dim) {
        shared.keys[lane * shared.stride + dim] = rounded<C>(0.0f);
    }
    barrier();

    WarpState<HEADS, DIMS> state;
    UNROLL
    for (int head = 0; head < HEADS; ++head) {
        state.highest[head] = -INFINITY;
        state.weight[head] = 0.0f;
        UNROLL
        for (int dim = 0; dim < DIMS; ++dim) state.sums[head][dim] = 0.0f;
    }
    const uint32_t keys = arguments.seq_lens_k[sequence], visible = first_visible(keys, arguments.window);
    const uint32_t origin = tile_of(visible), length = split_keys(keys - origin, arguments.splits);
    const uint32_t begin = origin + split * length, end = begin + length < keys ? begin + length : keys;
    const uint32_t* const table = arguments.block_tables + arguments.cu_blocks[sequence];
    for (uint32_t tile = begin + warp * KEY_TILE; tile < end; tile += warps * KEY_TILE) {
        const uint32_t count = end - tile < KEY_TILE ? end - tile : KEY_TILE;
        decode_tile(arguments, shared, table, heads.kv_head, tile, count, visible, state);
    }
    leave_state(shared, head_dim, state);
    barrier();

    const DecodeShared<C, HEADS> first(base, head_dim, 0, warps);
    const uint32_t key_floats = KEY_TILE * key_bytes(head_dim, sizeof(C)) / 4;
    const float* const sums = reinterpret_cast<const float*>(first.keys);
    for (uint32_t i = thread_x(); i < heads.count * head_dim; i += threads_x()) {
        const uint32_t head = i / head_dim, dim = i % head_dim;
        Merged merged{-INFINITY, 0.0f, 0.0f};
        for (uint32_t other = 0; other < warps; ++other) {
            const float* const stats = first.shares + (other * HEADS + head) * KEY_TILE;
            merged.add(stats[0], stats[1], sums[other * key_floats + i]);
        }
        if (arguments.splits == 1) {
            store_activation(arguments.output, (row * all_heads + heads.first) * head_dim + i, merged.value(), bf16);
            continue;
        }
        const size_t part =
            (static_cast<size_t>(block_z()) * all_heads + heads.first + head) * arguments.splits + split;
        arguments.sums[part * head_dim + dim] = merged.sum;
        if (dim == 0) {
            arguments.stats[2 * part] = merged.highest;
            arguments.stats[2 * part + 1] = merged.weight;
        }
    }
}

// Merges the splits of a head (blocks along x) of a sequence (along y).
KERNEL(paged_combine, AttentionArguments) {
    const uint32_t all_heads = arguments.kv_heads * arguments.group, head_dim = arguments.head_dim;
    const size_t row = arguments.cu_seqlens_q[arguments.work[block_y()]];
    const size_t first = (static_cast<size_t>(block_y()) * all_heads + block_x()) * arguments.splits;
    for (uint32_t dim = thread_x(); dim < head_dim; dim += threads_x()) {
        Merged merged{-INFINITY, 0.0f, 0.0f};
        for (size_t part = first; part < first + arguments.splits; ++part) {
            merged.add(arguments.stats[2 * part], arguments.stats[2 * part + 1], arguments.sums[part * head_dim + dim]);
        }
        const size_t place = (row * all_heads + block_x()) * head_dim + dim;
        store_activation(arguments.output, place, merged.value(), arguments.bf16 != 0);
    }
}

// Kernels by the cache's type, the longest head that they are good for, and the most query heads of a block.
#define DECODE(name, Cache, longest, heads) \
    KERNEL(paged_decode_##name##_##longest##_##heads, AttentionArguments) { \
        paged_decode<Cache, longest / 32, heads>(arguments);                \
    }
#define DECODE_HEADS(name, Cache, longest) \
    DECODE(name, Cache, longest, 1)        \
    DECODE(name, Cache, longest, 2)        \
    DECODE(name, Cache, longest, 4)        \
    DECODE(name, Cache, longest, 8)
#define DECODE_LENGTHS(name, Cache) \
    DECODE_HEADS(name, Cache, 64)   \
    DECODE_HEADS(name, Cache, 128)  \
    DECODE_HEADS(name, Cache, 256)

DECODE_LENGTHS(f32, float)
DECODE_LENGTHS(f16, F16)
DECODE_LENGTHS(bf16, Bf16)
