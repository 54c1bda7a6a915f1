// Rows of a table of any weight type as floats, by token ids that lie on the device; and the ids themselves, where a step takes
// them from what the step before it has drawn.
#include "blocks.cuh"

struct EmbeddingArguments {
    const uint8_t* table;  // [vocabulary, width] in blocks
    const uint32_t* ids;   // [rows], each a row of the table
    float* rows;           // [rows, width]
    uint32_t width;        // a multiple of a block's elements
};

// Blocks along y share a row: each thread takes columns at a distance of all of them, so that stores are coalesced.
template <typename Block>
DEVICE void embedding(const EmbeddingArguments& arguments) {
    const uint32_t width = arguments.width;
    const size_t row_bytes = static_cast<size_t>(width / Block::ELEMENTS) * Block::BYTES;
    const uint8_t* const source = arguments.table + arguments.ids[block_x()] * row_bytes;
    float* const row = arguments.rows + static_cast<size_t>(block_x()) * width;
    for (uint32_t i = block_y() * threads_x() + thread_x(); i < width; i += blocks_y() * threads_x()) {
        const uint8_t* const block = source + static_cast<size_t>(i / Block::ELEMENTS) * Block::BYTES;
        row[i] = Block::element(block, i % Block::ELEMENTS);
    }
}

KERNEL(embedding_f32, EmbeddingArguments) { embedding<BlockF32>(arguments); }
KERNEL(embedding_f16, EmbeddingArguments) { embedding<BlockF16>(arguments); }
KERNEL(embedding_bf16, EmbeddingArguments) { embedding<BlockBf16>(arguments); }
KERNEL(embedding_q4_0, EmbeddingArguments) { embedding<BlockQ4_0>(arguments); }
KERNEL(embedding_q4_1, EmbeddingArguments) { embedding<BlockQ4_1>(arguments); }
KERNEL(embedding_q5_0, EmbeddingArguments) { embedding<BlockQ5_0>(arguments); }
KERNEL(embedding_q5_1, EmbeddingArguments) { embedding<BlockQ5_1>(arguments); }
KERNEL(embedding_q8_0, EmbeddingArguments) { embedding<BlockQ8_0>(arguments); }
KERNEL(embedding_q2k, EmbeddingArguments) { embedding<BlockQ2K>(arguments); }
KERNEL(embedding_q3k, EmbeddingArguments) { embedding<BlockQ3K>(arguments); }
KERNEL(embedding_q4k, EmbeddingArguments) { embedding<BlockQ4K>(arguments); }
KERNEL(embedding_q5k, EmbeddingArguments) { embedding<BlockQ5K>(arguments); }
KERNEL(embedding_q6k, EmbeddingArguments) { embedding<BlockQ6K>(arguments); }

struct ResolveTokensArguments {
    uint32_t* input_ids;        // [rows]
    const uint32_t* drawn;      // [draws]: token ids, or a mark that is no token where a draw failed
    const uint32_t* rows;       // [count]: which input ids are to be set
    const uint32_t* draws;      // [count]: to which draw
    uint32_t count;
    uint32_t vocabulary;
};

// A draw that failed ends its sequence, and nobody reads the row: any token will do, but it must be one.
BOTH uint32_t resolved_token(uint32_t drawn, uint32_t vocabulary) { return drawn < vocabulary ? drawn : 0; }

KERNEL(resolve_tokens, ResolveTokensArguments) {
    const uint32_t index = block_x() * threads_x() + thread_x();
    if (index >= arguments.count) return;
    const uint32_t drawn = arguments.drawn[arguments.draws[index]];
    arguments.input_ids[arguments.rows[index]] = resolved_token(drawn, arguments.vocabulary);
}
