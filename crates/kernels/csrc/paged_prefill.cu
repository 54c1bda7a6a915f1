// Causal attention of sequences that bring several rows. A block takes the rows of one tile with the query heads that share a key
// head: 64 pairs of both (32 for long heads), called lanes. Keys, and then values, of 32 positions come into shared memory as
// floats; each of the 128 threads computes a few lanes by four keys, then the same lanes by a few columns of four dimensions.
#include "attention.cuh"

constexpr uint32_t PREFILL_THREADS = 128;
// Threads that share a lane: neighbours in a warp.
constexpr uint32_t LANE_THREADS = 8;

// Floats of a row in shared memory: whole packs, and four more so that eight rows, read at once, lie in different banks.
BOTH uint32_t prefill_dims(uint32_t head_dim) { return (head_dim + 7) / 8 * 8; }
BOTH uint32_t prefill_stride(uint32_t head_dim) { return prefill_dims(head_dim) + 4; }

// Floats of a lane's shares: a tile, and four more for the same reason.
constexpr uint32_t SHARE_STRIDE = KEY_TILE + 4;

using Four = Pack<float, 4>;

DEVICE Four load_four(const float* place) { return *reinterpret_cast<const Four*>(place); }

// What a thread has of its lanes: dimensions `32 * column + 4 * (thread % 8)` on, and the weight of its own keys.
template <int LANES, int COLUMNS>
struct LaneState {
    float highest[LANES], weight[LANES], sums[LANES][COLUMNS][4];
};

// One online softmax step over the loaded keys; a lane sees at most `window` of those before position `visible`.
template <int LANES, int COLUMNS>
DEVICE void take_keys(const float* queries, const float* tile, float* shares, uint32_t head_dim, uint32_t tile_start,
                      const uint32_t (&visible)[LANES], uint32_t window, LaneState<LANES, COLUMNS>& state) {
    const uint32_t lane = thread_x() / LANE_THREADS * LANES, within = thread_x() % LANE_THREADS;
    const uint32_t stride = prefill_stride(head_dim);
    float scores[LANES][4] = {};
    for (uint32_t dim = 0; dim < prefill_dims(head_dim); dim += 4) {
        Four keys[4];
        UNROLL
        for (int j = 0; j < 4; ++j) keys[j] = load_four(tile + (within + LANE_THREADS * j) * stride + dim);
        UNROLL
        for (int i = 0; i < LANES; ++i) {
            const Four query = load_four(queries + (lane + i) * stride + dim);
            UNROLL
            for (int j = 0; j < 4; ++j) {
                UNROLL
                for (int k = 0; k < 4; ++k) scores[i][j] += query.items[k] * keys[j].items[k];
            }
        }
    }
    UNROLL
    for (int i = 0; i < LANES; ++i) {
        float highest = state.highest[i];
        UNROLL
        for (int j = 0; j < 4; ++j) {
            const uint32_t position = tile_start + within + LANE_THREADS * j;
            if (position >= visible[i] || position < first_visible(visible[i], window)) scores[i][j] = -INFINITY;
            highest = fmaxf(highest, scores[i][j]);
        }
        UNROLL
        for (int mask = 1; mask < static_cast<int>(LANE_THREADS); mask *= 2) {
            highest = fmaxf(highest, shuffle_xor(highest, mask));
        }
        // A lane that has seen nothing yet, since its window begins behind this tile, keeps its zeros: no score is compared with
        // minus infinity.
        const float level = highest == -INFINITY ? 0.0f : highest;
        const float shrink = exp2f(state.highest[i] - level);
        state.highest[i] = highest;
        state.weight[i] *= shrink;
        UNROLL
        for (int j = 0; j < 4; ++j) {
            const float share = exp2f(scores[i][j] - level);
            state.weight[i] += share;
            shares[(lane + i) * SHARE_STRIDE + within + LANE_THREADS * j] = share;
        }
        UNROLL
        for (int column = 0; column < COLUMNS; ++column) {
            UNROLL
            for (int k = 0; k < 4; ++k) state.sums[i][column][k] *= shrink;
        }
    }
}

// Adds the loaded values, each by its share.
template <int LANES, int COLUMNS>
DEVICE void take_values(const float* tile, const float* shares, uint32_t head_dim, LaneState<LANES, COLUMNS>& state) {
    const uint32_t lane = thread_x() / LANE_THREADS * LANES, within = thread_x() % LANE_THREADS;
    const uint32_t stride = prefill_stride(head_dim);
    for (uint32_t key = 0; key < KEY_TILE; key += 4) {
        Four share[LANES];
        UNROLL
        for (int i = 0; i < LANES; ++i) share[i] = load_four(shares + (lane + i) * SHARE_STRIDE + key);
        UNROLL
        for (int k = 0; k < 4; ++k) {
            UNROLL
            for (int column = 0; column < COLUMNS; ++column) {
                const uint32_t dim = 4 * LANE_THREADS * column + 4 * within;
                if (dim >= prefill_dims(head_dim)) continue;
                const Four values = load_four(tile + (key + k) * stride + dim);
                UNROLL
                for (int i = 0; i < LANES; ++i) {
                    UNROLL
                    for (int d = 0; d < 4; ++d) state.sums[i][column][d] += share[i].items[k] * values.items[d];
                }
            }
        }
    }
}

// The rows of a block: `count` from `first` on; row `i` of them sees `first_keys + i` keys.
struct RowTile {
    uint32_t first, count, first_keys;
};

BOTH RowTile row_tile(uint32_t first, uint32_t most, uint32_t sequence_first, uint32_t sequence_end, uint32_t keys) {
    const uint32_t rest = sequence_end - first;
    const uint32_t before = keys - (sequence_end - sequence_first);
    return {first, rest < most ? rest : most, before + first - sequence_first + 1};
}

// Writes the lanes that stand for a row and a head.
template <int LANES, int COLUMNS>
DEVICE void finish(const AttentionArguments& arguments, const RowTile& rows, const HeadRange& heads,
                   const LaneState<LANES, COLUMNS>& state) {
    const uint32_t lane = thread_x() / LANE_THREADS * LANES, within = thread_x() % LANE_THREADS;
    const uint32_t all_heads = arguments.kv_heads * arguments.group, head_dim = arguments.head_dim;
    UNROLL
    for (int i = 0; i < LANES; ++i) {
        float weight = state.weight[i];
        UNROLL
        for (int mask = 1; mask < static_cast<int>(LANE_THREADS); mask *= 2) weight += shuffle_xor(weight, mask);
        const uint32_t row = (lane + i) / heads.count, head = (lane + i) % heads.count;
        if (row >= rows.count) continue;
        const size_t start = (static_cast<size_t>(rows.first + row) * all_heads + heads.first + head) * head_dim;
        const float inverse = 1.0f / weight;
        UNROLL
        for (int column = 0; column < COLUMNS; ++column) {
            UNROLL
            for (int d = 0; d < 4; ++d) {
                const uint32_t dim = 4 * LANE_THREADS * column + 4 * within + d;
                if (dim >= head_dim) continue;
                const float value = state.sums[i][column][d] * inverse;
                store_activation(arguments.output, start + dim, value, arguments.bf16 != 0);
            }
        }
    }
}

// `LANES` lanes for each eight threads, columns of 32 dimensions.
template <typename C, int LANES, int COLUMNS>
DEVICE void paged_prefill(const AttentionArguments& arguments) {
    constexpr uint32_t ALL_LANES = PREFILL_THREADS / LANE_THREADS * LANES;
    SHARED(float, queries);
    const uint32_t head_dim = arguments.head_dim, dims = prefill_dims(head_dim), stride = prefill_stride(head_dim);
    float* const tile = queries + ALL_LANES * stride;
    float* const shares = tile + KEY_TILE * stride;
    size_t* const starts = reinterpret_cast<size_t*>(shares + ALL_LANES * SHARE_STRIDE);
    const uint32_t sequence = arguments.work[2 * static_cast<size_t>(block_x())];
    const uint32_t first_row = arguments.work[2 * static_cast<size_t>(block_x()) + 1];
    const HeadRange heads = head_range(block_y(), arguments.group, arguments.heads_per_block);
    const RowTile rows = row_tile(first_row, ALL_LANES / arguments.heads_per_block, arguments.cu_seqlens_q[sequence],
                                  arguments.cu_seqlens_q[sequence + 1], arguments.seq_lens_k[sequence]);
    const uint32_t warp = thread_x() / 32, all_heads = arguments.kv_heads * arguments.group;
    for (uint32_t lane = warp; lane < ALL_LANES; lane += PREFILL_THREADS / 32) {
        const uint32_t row = lane / heads.count, head = lane % heads.count;
        const size_t start = (static_cast<size_t>(first_row + row) * all_heads + heads.first + head) * head_dim;
        for (uint32_t dim = thread_x() % 32; dim < dims; dim += 32) {
            const bool real = row < rows.count && dim < head_dim;
            queries[lane * stride + dim] =
                real ? load_activation(arguments.query, start + dim, arguments.bf16 != 0) * arguments.scale : 0.0f;
        }
    }
    // What lies behind a head of a length that is no whole pack is read as well.
    if (thread_x() < KEY_TILE) {
        for (uint32_t dim = head_dim; dim < dims; ++dim) tile[thread_x() * stride + dim] = 0.0f;
    }
    LaneState<LANES, COLUMNS> state = {};
    uint32_t visible[LANES];
    UNROLL
    for (int i = 0; i < LANES; ++i) {
        state.highest[i] = -INFINITY;
        // Lanes without a row compute with the last one's keys and are not written.
        const uint32_t row = (thread_x() / LANE_THREADS * LANES + i) / heads.count;
        visible[i] = rows.first_keys + (row < rows.count ? row : rows.count - 1);
    }
    // What any row of the tile sees: the first one begins first, the last one ends last.
    const uint32_t begin = first_visible(rows.first_keys, arguments.window), keys = rows.first_keys + rows.count - 1;
    const uint32_t* const table = arguments.block_tables + arguments.cu_blocks[sequence];
    for (uint32_t tile_start = tile_of(begin); tile_start < keys; tile_start += KEY_TILE) {
        if (thread_x() < KEY_TILE) {
            // Places that no row sees repeat the nearest that one does: their blocks may not exist or hold anything.
            const uint32_t place = tile_start + thread_x();
            const uint32_t position = place < begin ? begin : place < keys ? place : keys - 1;
            starts[thread_x()] =
                key_start(table, position, arguments.block_size, arguments.kv_heads, heads.kv_head, head_dim);
        }
        barrier();
        load_rows<float>(static_cast<const C*>(arguments.key_cache), starts, head_dim, arguments.vectors != 0, tile, stride,
                         thread_x(), PREFILL_THREADS);
        barrier();
        take_keys(queries, tile, shares, head_dim, tile_start, visible, arguments.window, state);
        barrier();
        load_rows<float>(static_cast<const C*>(arguments.value_cache), starts, head_dim, arguments.vectors != 0, tile,
                         stride, thread_x(), PREFILL_THREADS);
        barrier();
        // The next tile is loaded behind the barrier that follows its places.
        take_values(tile, shares, head_dim, state);
    }
    finish(arguments, rows, heads, state);
}

// Kernels by the cache's type and the longest head that they are good for.
#define PREFILL(name, Cache)                                                                                       \
    KERNEL(paged_prefill_##name##_64, AttentionArguments) { paged_prefill<Cache, 4, 2>(arguments); }               \
    KERNEL(paged_prefill_##name##_128, AttentionArguments) { paged_prefill<Cache, 4, 4>(arguments); }              \
    KERNEL(paged_prefill_##name##_256, AttentionArguments) { paged_prefill<Cache, 2, 8>(arguments); }

PREFILL(f32, float)
PREFILL(f16, F16)
PREFILL(bf16, Bf16)
