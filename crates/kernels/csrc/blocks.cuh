// GGUF's element formats: element `i` of the block that begins at an address. Blocks follow each other without gaps and are
// aligned to two bytes at best, so they are read byte by byte. The layouts are those of ggml's `ggml-common.h`.
#pragma once

#include "numeric.cuh"

BOTH uint16_t load_u16(const uint8_t* place) { return static_cast<uint16_t>(place[0] | place[1] << 8); }

BOTH float load_half(const uint8_t* place) { return to_float(F16{load_u16(place)}); }

// The low or the high four bits.
BOTH uint32_t nibble(uint8_t byte, bool high) { return high ? byte >> 4 : byte & 15u; }

struct BlockF32 {
    static constexpr uint32_t ELEMENTS = 1, BYTES = 4;
    static BOTH float element(const uint8_t* block, uint32_t) {
        return bits_float(load_u16(block) | static_cast<uint32_t>(load_u16(block + 2)) << 16);
    }
};

struct BlockF16 {
    static constexpr uint32_t ELEMENTS = 1, BYTES = 2;
    static BOTH float element(const uint8_t* block, uint32_t) { return load_half(block); }
};

struct BlockBf16 {
    static constexpr uint32_t ELEMENTS = 1, BYTES = 2;
    static BOTH float element(const uint8_t* block, uint32_t) { return to_float(Bf16{load_u16(block)}); }
};

// A scale, then nibbles: the low ones are elements 0 to 15, the high ones 16 to 31.
struct BlockQ4_0 {
    static constexpr uint32_t ELEMENTS = 32, BYTES = 18;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        return (static_cast<float>(nibble(block[2 + i % 16], i >= 16)) - 8.0f) * load_half(block);
    }
};

// A scale and a minimum, then nibbles.
struct BlockQ4_1 {
    static constexpr uint32_t ELEMENTS = 32, BYTES = 20;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        return static_cast<float>(nibble(block[4 + i % 16], i >= 16)) * load_half(block) + load_half(block + 2);
    }
};

// The fifth bit of element `i`, at its place, from four bytes that hold one bit for each element.
BOTH uint32_t fifth_bit(const uint8_t* bits, uint32_t i) { return (bits[i / 8] >> i % 8 & 1u) << 4; }

// A scale, the fifth bits, then nibbles.
struct BlockQ5_0 {
    static constexpr uint32_t ELEMENTS = 32, BYTES = 22;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const uint32_t value = nibble(block[6 + i % 16], i >= 16) | fifth_bit(block + 2, i);
        return (static_cast<float>(value) - 16.0f) * load_half(block);
    }
};

// A scale and a minimum, the fifth bits, then nibbles.
struct BlockQ5_1 {
    static constexpr uint32_t ELEMENTS = 32, BYTES = 24;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const uint32_t value = nibble(block[8 + i % 16], i >= 16) | fifth_bit(block + 4, i);
        return static_cast<float>(value) * load_half(block) + load_half(block + 2);
    }
};

// A scale, then signed bytes.
struct BlockQ8_0 {
    static constexpr uint32_t ELEMENTS = 32, BYTES = 34;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        return static_cast<float>(static_cast<int8_t>(block[2 + i])) * load_half(block);
    }
};

// 16 scales with minima (four bits each), two bits for each element, the scale of scales and that of minima. Each 32 bytes of
// bits serve 128 elements: bits 0 and 1 are elements 0 to 31, bits 2 and 3 elements 32 to 63, and so on.
struct BlockQ2K {
    static constexpr uint32_t ELEMENTS = 256, BYTES = 84;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const uint32_t value = block[16 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3u;
        const uint8_t scales = block[i / 16];
        const float scale = load_half(block + 80) * static_cast<float>(scales & 15u);
        return scale * static_cast<float>(value) - load_half(block + 82) * static_cast<float>(scales >> 4);
    }
};

// A third bit for each element, two bits as in Q2K, 16 scales of six bits, the scale of scales. A third bit that is missing
// takes four away. Of scale `s`, the low four bits are a nibble of byte `s % 8`, the high two are in byte `8 + s % 4`.
struct BlockQ3K {
    static constexpr uint32_t ELEMENTS = 256, BYTES = 110;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const uint8_t* const scales = block + 96;
        const uint32_t s = i / 16;
        const uint32_t scale = nibble(scales[s % 8], s >= 8) | (scales[8 + s % 4] >> s / 4 * 2 & 3u) << 4;
        const int low = block[32 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
        const int value = low - (block[i % 32] >> i / 32 & 1 ? 0 : 4);
        return load_half(block + 108) * (static_cast<float>(scale) - 32.0f) * static_cast<float>(value);
    }
};

// The scale and the minimum of 32 elements, six bits each, of the 12 bytes that hold eight of both.
struct ScaleAndMinimum {
    uint32_t scale, minimum;
};

BOTH ScaleAndMinimum scale_and_minimum(const uint8_t* packed, uint32_t s) {
    if (s < 4) return {packed[s] & 63u, packed[s + 4] & 63u};
    const uint32_t low = packed[s + 4];
    return {(low & 15u) | static_cast<uint32_t>(packed[s - 4] >> 6) << 4,
            low >> 4 | static_cast<uint32_t>(packed[s] >> 6) << 4};
}

// The scale of scales and that of minima, eight scales and minima, then nibbles: each 32 bytes hold the low ones of 32
// elements and the high ones of the next 32.
struct BlockQ4K {
    static constexpr uint32_t ELEMENTS = 256, BYTES = 144;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const ScaleAndMinimum both = scale_and_minimum(block + 4, i / 32);
        const uint32_t value = nibble(block[16 + i / 64 * 32 + i % 32], i % 64 >= 32);
        return load_half(block) * static_cast<float>(both.scale) * static_cast<float>(value) -
               load_half(block + 2) * static_cast<float>(both.minimum);
    }
};

// As Q4K, with 32 bytes of fifth bits before the nibbles: bit `s` of byte `i % 32` belongs to the elements of scale `s`.
struct BlockQ5K {
    static constexpr uint32_t ELEMENTS = 256, BYTES = 176;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const ScaleAndMinimum both = scale_and_minimum(block + 4, i / 32);
        const uint32_t fifth = (block[16 + i % 32] >> i / 32 & 1u) << 4;
        const uint32_t value = nibble(block[48 + i / 64 * 32 + i % 32], i % 64 >= 32) | fifth;
        return load_half(block) * static_cast<float>(both.scale) * static_cast<float>(value) -
               load_half(block + 2) * static_cast<float>(both.minimum);
    }
};

// Nibbles, two high bits for each element, 16 signed scales, the scale of scales. For each 128 elements there are 64 bytes of
// nibbles (low ones: elements 0 to 63, high ones: 64 to 127) and 32 bytes of high bits (laid out as in Q2K).
struct BlockQ6K {
    static constexpr uint32_t ELEMENTS = 256, BYTES = 210;
    static BOTH float element(const uint8_t* block, uint32_t i) {
        const uint32_t half = i / 128, within = i % 128;
        const uint32_t low = nibble(block[half * 64 + within % 64], within >= 64);
        const uint32_t high = (block[128 + half * 32 + within % 32] >> within / 32 * 2 & 3u) << 4;
        const float scale = static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
        return load_half(block + 208) * scale * (static_cast<float>(low | high) - 32.0f);
    }
};
