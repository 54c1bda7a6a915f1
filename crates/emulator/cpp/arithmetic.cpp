// Doors to the kernels' arithmetic that runs on both sides: number formats, blocks of weights, and where work is cut. Included
// behind the kernels, so that a test calls the very functions that they do.
#include "blocks.cuh"

namespace {

struct Format {
    const char* name;
    uint32_t bytes, elements;
    float (*element)(const uint8_t*, uint32_t);
};

template <typename Block>
Format format(const char* name) {
    return {name, Block::BYTES, Block::ELEMENTS, [](const uint8_t* block, uint32_t i) { return Block::element(block, i); }};
}

const Format FORMATS[] = {
    format<BlockF32>("f32"),   format<BlockF16>("f16"),   format<BlockBf16>("bf16"), format<BlockQ4_0>("q4_0"),
    format<BlockQ4_1>("q4_1"), format<BlockQ5_0>("q5_0"), format<BlockQ5_1>("q5_1"), format<BlockQ8_0>("q8_0"),
    format<BlockQ2K>("q2k"),   format<BlockQ3K>("q3k"),   format<BlockQ4K>("q4k"),   format<BlockQ5K>("q5k"),
    format<BlockQ6K>("q6k"),
};

}  // namespace

extern "C" {

float sconce_f16_to_float(uint16_t bits) { return to_float(F16{bits}); }
float sconce_bf16_to_float(uint16_t bits) { return to_float(Bf16{bits}); }
uint16_t sconce_float_to_f16(float value) { return rounded<F16>(value).bits; }
uint16_t sconce_float_to_bf16(float value) { return rounded<Bf16>(value).bits; }

// Bytes and elements of a block; false for a name that is no format's.
bool sconce_block_size(const char* name, uint32_t* bytes, uint32_t* elements) {
    for (const Format& format : FORMATS) {
        if (std::strcmp(format.name, name) == 0) {
            *bytes = format.bytes;
            *elements = format.elements;
            return true;
        }
    }
    return false;
}

float sconce_block_element(const char* name, const uint8_t* block, uint32_t index) {
    for (const Format& format : FORMATS) {
        if (std::strcmp(format.name, name) == 0) return format.element(block, index);
    }
    return 0.0f;
}

float sconce_reduced_angle(uint32_t position, double frequency) { return reduced_angle(position, frequency); }

uint32_t sconce_split_keys(uint32_t keys, uint32_t splits) { return split_keys(keys, splits); }

uint64_t sconce_key_start(const uint32_t* table, uint32_t position, uint32_t block_size, uint32_t kv_heads, uint32_t kv_head,
                          uint32_t head_dim) {
    return key_start(table, position, block_size, kv_heads, kv_head, head_dim);
}

void sconce_head_range(uint32_t block, uint32_t group, uint32_t heads_per_block, uint32_t out[3]) {
    const HeadRange range = head_range(block, group, heads_per_block);
    out[0] = range.kv_head;
    out[1] = range.first;
    out[2] = range.count;
}

void sconce_row_tile(uint32_t first, uint32_t most, uint32_t sequence_first, uint32_t sequence_end, uint32_t keys,
                     uint32_t out[3]) {
    const RowTile tile = row_tile(first, most, sequence_first, sequence_end, keys);
    out[0] = tile.first;
    out[1] = tile.count;
    out[2] = tile.first_keys;
}

}
