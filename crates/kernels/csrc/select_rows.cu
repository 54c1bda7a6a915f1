// Rows of a matrix by a list on the device: gathered into a matrix of their own, or scattered back. A row may be an output of
// the network, or a whole block of the cache on its way to another memory.
#include "units.cuh"

struct SelectRowsArguments {
    const void* source;    // gather: [any, row_units]; scatter: [rows, row_units]
    void* destination;     // gather: [rows, row_units]; scatter: [any, row_units]
    const uint32_t* rows;  // [rows]: rows of the larger matrix; for a scatter each at most once
    uint64_t row_units;
};

template <typename Unit>
DEVICE void gather_rows(const SelectRowsArguments& arguments) {
    copy_units(static_cast<const Unit*>(arguments.source) + arguments.rows[block_x()] * arguments.row_units,
               static_cast<Unit*>(arguments.destination) + block_x() * arguments.row_units, arguments.row_units);
}

template <typename Unit>
DEVICE void scatter_rows(const SelectRowsArguments& arguments) {
    copy_units(static_cast<const Unit*>(arguments.source) + block_x() * arguments.row_units,
               static_cast<Unit*>(arguments.destination) + arguments.rows[block_x()] * arguments.row_units,
               arguments.row_units);
}

KERNEL(gather_rows_2, SelectRowsArguments) { gather_rows<Unit2>(arguments); }
KERNEL(gather_rows_4, SelectRowsArguments) { gather_rows<Unit4>(arguments); }
KERNEL(gather_rows_8, SelectRowsArguments) { gather_rows<Unit8>(arguments); }
KERNEL(gather_rows_16, SelectRowsArguments) { gather_rows<Unit16>(arguments); }
KERNEL(scatter_rows_2, SelectRowsArguments) { scatter_rows<Unit2>(arguments); }
KERNEL(scatter_rows_4, SelectRowsArguments) { scatter_rows<Unit4>(arguments); }
KERNEL(scatter_rows_8, SelectRowsArguments) { scatter_rows<Unit8>(arguments); }
KERNEL(scatter_rows_16, SelectRowsArguments) { scatter_rows<Unit16>(arguments); }
