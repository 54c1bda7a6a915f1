// What the kernels of paged attention share: their arguments, where a key lies, and how rows of the cache come into shared
// memory. The cache is [blocks, block_size, kv_heads, head_dim]; keys go in tiles of 32 absolute positions.
#pragma once

#include "numeric.cuh"

constexpr uint32_t KEY_TILE = 32;

struct AttentionArguments {
    const void* query;             // [rows, heads * head_dim] of the activations' type
    void* output;                  // [rows, heads * head_dim] of the activations' type
    const void* key_cache;
    const void* value_cache;
    const uint32_t* cu_seqlens_q;  // [sequences + 1]: first row of each sequence
    const uint32_t* seq_lens_k;    // [sequences]: keys that the last row sees
    const uint32_t* cu_blocks;     // [sequences + 1]: first entry of each block table
    const uint32_t* block_tables;
    const uint32_t* work;          // decode: sequences with one row; prefill: pairs of a sequence and a first row
    float* sums;                   // decode: [work, heads, splits, head_dim], weighted values of each split
    float* stats;                  // decode: [work, heads, splits, 2], the largest score of each split and its weight
    uint32_t kv_heads;
    uint32_t group;                // query heads of a key head
    uint32_t heads_per_block;      // query heads of a key head that one block computes
    uint32_t head_dim;
    uint32_t block_size;
    uint32_t splits;               // decode: blocks that share the keys of a sequence
    uint32_t bf16;                 // one where activations are bf16, else they are f32
    uint32_t vectors;              // one where heads are whole packs and all pointers aligned
    uint32_t window;               // most keys that a row sees, its own included; at least one
    float scale;                   // log2(e) / sqrt(head_dim): exponentials are powers of two
};

// Queries are read once and outputs written once, so that their type is not worth kernels of its own.
DEVICE float load_activation(const void* base, size_t index, bool bf16) {
    return bf16 ? to_float(static_cast<const Bf16*>(base)[index]) : static_cast<const float*>(base)[index];
}

DEVICE void store_activation(void* base, size_t index, float value, bool bf16) {
    if (bf16) {
        static_cast<Bf16*>(base)[index] = rounded<Bf16>(value);
    } else {
        static_cast<float*>(base)[index] = value;
    }
}

// The query heads of one block: `count` from `first` on, which share a key head.
struct HeadRange {
    uint32_t kv_head, first, count;
};

// Blocks along y are key heads, each so often as its group needs.
BOTH HeadRange head_range(uint32_t block, uint32_t group, uint32_t heads_per_block) {
    const uint32_t parts = (group + heads_per_block - 1) / heads_per_block;
    const uint32_t kv_head = block / parts, within = block % parts * heads_per_block;
    const uint32_t rest = group - within;
    return {kv_head, kv_head * group + within, rest < heads_per_block ? rest : heads_per_block};
}

// The first position that a row sees of its `keys`.
BOTH uint32_t first_visible(uint32_t keys, uint32_t window) { return keys > window ? keys - window : 0; }

// The position where the tile begins that a position is in. Tiles are of absolute positions, whatever is visible of them.
BOTH uint32_t tile_of(uint32_t position) { return position / KEY_TILE * KEY_TILE; }

// Keys of one split, whole tiles, so that `splits` of them cover all keys. The last ones may have none.
BOTH uint32_t split_keys(uint32_t keys, uint32_t splits) {
    const uint32_t tiles = (keys + KEY_TILE - 1) / KEY_TILE;
    return (tiles + splits - 1) / splits * KEY_TILE;
}

// The element of the cache at which a head's key of a position begins.
BOTH size_t key_start(const uint32_t* table, uint32_t position, uint32_t block_size, uint32_t kv_heads, uint32_t kv_head,
                      uint32_t head_dim) {
    const size_t slot = static_cast<size_t>(table[position / block_size]) * block_size + position % block_size;
    return (slot * kv_heads + kv_head) * head_dim;
}

// Brings the heads that begin at `starts` into a tile, `COUNT` numbers at once: neighbouring threads read neighbours, and
// four loads are under way before the first store. `stride` is the length of a row of the tile, in its elements.
template <typename Out, int COUNT, typename C>
DEVICE void load_rows_by(const C* cache, const size_t* starts, uint32_t head_dim, Out* tile, uint32_t stride,
                         uint32_t thread, uint32_t threads) {
    const uint32_t units = head_dim / COUNT;
    // Whole rows side by side, as many as there are threads for; or a row in parts, if there are too few for one.
    const uint32_t side_by_side = units < threads ? threads / units : 1;
    const uint32_t first_column = units < threads ? thread % units : thread;
    const uint32_t first_row = units < threads ? thread / units : 0;
    if (first_row >= side_by_side) return;
    for (uint32_t column = first_column; column < units; column += units < threads ? units : threads) {
        for (uint32_t row = first_row; row < KEY_TILE; row += 4 * side_by_side) {
            Pack<C, COUNT> held[4];
            UNROLL
            for (uint32_t i = 0; i < 4; ++i) {
                const uint32_t at = row + i * side_by_side;
                if (at < KEY_TILE) held[i] = *reinterpret_cast<const Pack<C, COUNT>*>(cache + starts[at] + column * COUNT);
            }
            UNROLL
            for (uint32_t i = 0; i < 4; ++i) {
                const uint32_t at = row + i * side_by_side;
                if (at >= KEY_TILE) continue;
                Pack<Out, COUNT> converted;
                UNROLL
                for (int j = 0; j < COUNT; ++j) from_float(to_float(held[i].items[j]), converted.items[j]);
                *reinterpret_cast<Pack<Out, COUNT>*>(tile + at * stride + column * COUNT) = converted;
            }
        }
    }
}

template <typename Out, typename C>
DEVICE void load_rows(const C* cache, const size_t* starts, uint32_t head_dim, bool vectors, Out* tile, uint32_t stride,
                      uint32_t thread, uint32_t threads) {
    if (vectors) {
        load_rows_by<Out, PACK<C>>(cache, starts, head_dim, tile, stride, thread, threads);
    } else {
        load_rows_by<Out, 1>(cache, starts, head_dim, tile, stride, thread, threads);
    }
}
