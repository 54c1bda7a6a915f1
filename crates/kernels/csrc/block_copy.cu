// Copies between blocks of one cache tensor. The copies of one launch run at the same time, so none of them may write what
// another reads or writes: the launch plan splits a list where it must.
#include "units.cuh"

struct BlockCopyArguments {
    void* cache;             // [blocks, block_units]
    const uint32_t* copies;  // [copies of the launch, 3]: source, destination, slots
    uint64_t block_units;    // units of one block
    uint32_t slot_units;     // units of one slot
};

template <typename Unit>
DEVICE void block_copy(const BlockCopyArguments& arguments) {
    const uint32_t* const copy = arguments.copies + 3 * static_cast<size_t>(block_x());
    Unit* const cache = static_cast<Unit*>(arguments.cache);
    copy_units(cache + copy[0] * arguments.block_units, cache + copy[1] * arguments.block_units,
               static_cast<size_t>(copy[2]) * arguments.slot_units);
}

KERNEL(block_copy_2, BlockCopyArguments) { block_copy<Unit2>(arguments); }
KERNEL(block_copy_4, BlockCopyArguments) { block_copy<Unit4>(arguments); }
KERNEL(block_copy_8, BlockCopyArguments) { block_copy<Unit8>(arguments); }
KERNEL(block_copy_16, BlockCopyArguments) { block_copy<Unit16>(arguments); }
