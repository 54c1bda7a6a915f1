// The runtime, for candle's kernels that are linked into the binary: they may register, but nothing runs them on the host.
#include <cuda.h>
#include <driver_types.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace {

// The device's name of each function. Registration runs before main, so that the map is made when it is first needed.
std::map<const void*, std::string>& names() {
    static std::map<const void*, std::string> registered;
    return registered;
}

struct Configuration {
    unsigned int grid[3], block[3];
    size_t shared_bytes;
    void* stream;
};

thread_local Configuration configuration;

}  // namespace

extern "C" {

struct Extent {
    unsigned int x, y, z;
};

void** __cudaRegisterFatBinary(void*) {
    static void* handle = nullptr;
    return &handle;
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void**) {}

void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*, void*, void*, void*, int*) {
    names()[host] = name;
}

void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

unsigned int __cudaPushCallConfiguration(Extent grid, Extent block, size_t shared_bytes, void* stream) {
    configuration = {{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared_bytes, stream};
    return 0;
}

cudaError_t __cudaPopCallConfiguration(Extent* grid, Extent* block, size_t* shared_bytes, void* stream) {
    *grid = {configuration.grid[0], configuration.grid[1], configuration.grid[2]};
    *block = {configuration.block[0], configuration.block[1], configuration.block[2]};
    *shared_bytes = configuration.shared_bytes;
    *static_cast<void**>(stream) = configuration.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(const void** kernel, const void* host) {
    *kernel = host;
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel_ptsz(const void* kernel, Extent, Extent, void**, size_t, void*) {
    const auto found = names().find(kernel);
    std::fprintf(stderr, "emulated card: %s is linked into the binary and runs on a real card only\n",
                 found == names().end() ? "a kernel" : found->second.c_str());
    std::abort();
}

// Whatever could have failed here has ended the process.
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}

}
