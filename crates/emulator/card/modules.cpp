// Modules and launches. A launch is checked as a real card checks it, and runs the kernel of the same name that was compiled for the
// host: our own in the emulator, candle's as they are written here.
#include "card.hpp"

#include <cstring>
#include <set>

extern "C" int sconce_emulator_launch(const char* name, const unsigned int grid[3], unsigned int threads,
                                      unsigned int shared_bytes, const void* arguments, uint64_t seed);

using namespace card;

namespace {

constexpr unsigned int MOST_THREADS = 1024, MOST_BLOCKS_Y = 65535, REGISTERS = 65536;
constexpr int MOST_SHARED_BYTES = 227 * 1024;

struct Module {
    Card* card;
    std::vector<Kernel> kernels;
};

// Never destroyed: a thread may still use the card while the process ends.
auto& modules = *new std::map<CUmodule, std::unique_ptr<Module>>;
auto& functions = *new std::map<CUfunction, Card*>;
uint64_t launches = 0;

struct Grid {
    unsigned int blocks[3], threads, shared_bytes;
};

CUresult run_kernel(Card& card, const Kernel& kernel, const Grid& grid, const unsigned char* arguments) {
    static const uint64_t faulty = setting("SCONCE_EMULATED_FAULT", 0);
    if (++launches == faulty) {
        say("launch %llu, of %s, faults as asked for", static_cast<unsigned long long>(launches), kernel.name.c_str());
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    expose(card);
    if (const CandleKernel candle = candle_kernel(kernel.name)) {
        candle(kernel, arguments);
        return CUDA_SUCCESS;
    }
    const int outcome = sconce_emulator_launch(kernel.name.c_str(), grid.blocks, grid.threads, grid.shared_bytes, arguments,
                                               chance(1u << 30));
    switch (outcome) {
        case 0: return CUDA_SUCCESS;
        case 1: say("nothing runs %s on the host", kernel.name.c_str()); return CUDA_ERROR_NOT_SUPPORTED;
        case 2: say("%s: threads wait for others that never come", kernel.name.c_str()); return CUDA_ERROR_LAUNCH_TIMEOUT;
        default: say("%s writes behind its shared memory", kernel.name.c_str()); return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
}

// What a card refuses before anything runs.
CUresult check(const Kernel& kernel, const Grid& grid) {
    const auto [x, y, z] = grid.blocks;
    if (x == 0 || y == 0 || z == 0 || y > MOST_BLOCKS_Y || z > MOST_BLOCKS_Y) return CUDA_ERROR_INVALID_VALUE;
    const unsigned int most = kernel.most_threads ? kernel.most_threads : MOST_THREADS;
    if (grid.threads == 0 || grid.threads > most) return CUDA_ERROR_INVALID_VALUE;
    if (grid.shared_bytes > static_cast<unsigned int>(kernel.most_shared_bytes)) return CUDA_ERROR_INVALID_VALUE;
    // A warp takes registers in units of 256.
    const unsigned int per_warp = (kernel.registers * 32 + 255) / 256 * 256;
    if (per_warp * ((grid.threads + 31) / 32) > REGISTERS) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    return CUDA_SUCCESS;
}

Kernel* kernel_of(CUfunction function) {
    return functions.count(function) ? reinterpret_cast<Kernel*>(function) : nullptr;
}

}  // namespace

CUresult cuModuleLoadData(CUmodule* made, const void* image) {
    return call([&](Card& card) {
        auto module = std::make_unique<Module>();
        module->card = &card;
        module->kernels = kernels_of(image);
        if (module->kernels.empty()) return CUDA_ERROR_INVALID_IMAGE;
        for (Kernel& kernel : module->kernels) functions[reinterpret_cast<CUfunction>(&kernel)] = &card;
        *made = reinterpret_cast<CUmodule>(module.get());
        modules[*made] = std::move(module);
        return CUDA_SUCCESS;
    });
}

CUresult cuModuleLoad(CUmodule*, const char*) { return CUDA_ERROR_NOT_SUPPORTED; }

CUresult cuModuleUnload(CUmodule handle) {
    return call([&](Card& card) {
        const auto found = modules.find(handle);
        if (found == modules.end()) return CUDA_ERROR_INVALID_HANDLE;
        const CUresult result = run_all(card);
        for (Kernel& kernel : found->second->kernels) functions.erase(reinterpret_cast<CUfunction>(&kernel));
        modules.erase(found);
        return result;
    });
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule handle, const char* name) {
    return call([&](Card&) {
        const auto found = modules.find(handle);
        if (found == modules.end()) return CUDA_ERROR_INVALID_HANDLE;
        for (Kernel& kernel : found->second->kernels) {
            if (kernel.name != name) continue;
            *function = reinterpret_cast<CUfunction>(&kernel);
            return CUDA_SUCCESS;
        }
        return CUDA_ERROR_NOT_FOUND;
    });
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    return call([&](Card&) {
        Kernel* kernel = kernel_of(function);
        if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
        if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_NOT_SUPPORTED;
        if (value < 0 || value > MOST_SHARED_BYTES) return CUDA_ERROR_INVALID_VALUE;
        kernel->most_shared_bytes = value;
        return CUDA_SUCCESS;
    });
}

CUresult cuLaunchKernel(CUfunction function, unsigned int blocks_x, unsigned int blocks_y, unsigned int blocks_z,
                        unsigned int threads_x, unsigned int threads_y, unsigned int threads_z, unsigned int shared_bytes,
                        CUstream handle, void** parameters, void** extra) {
    return call([&](Card& card) {
        const Kernel* kernel = kernel_of(function);
        const auto stream = stream_of(handle);
        if (!kernel || !stream || functions.at(function) != &card) return CUDA_ERROR_INVALID_HANDLE;
        if (extra || threads_y != 1 || threads_z != 1) return CUDA_ERROR_NOT_SUPPORTED;
        const Grid grid = {{blocks_x, blocks_y, blocks_z}, threads_x, shared_bytes};
        const CUresult refused = check(*kernel, grid);
        if (refused != CUDA_SUCCESS) {
            say("a launch of %s by %u threads in (%u, %u, %u) blocks with %u bytes is refused", kernel->name.c_str(), threads_x,
                blocks_x, blocks_y, blocks_z, shared_bytes);
            return refused;
        }
        size_t bytes = 0;
        for (const Parameter& parameter : kernel->parameters) bytes = std::max(bytes, parameter.offset + parameter.bytes);
        const auto arguments = std::make_shared<std::vector<unsigned char>>(bytes);
        for (size_t i = 0; i < kernel->parameters.size(); ++i) {
            const Parameter& parameter = kernel->parameters[i];
            std::memcpy(arguments->data() + parameter.offset, parameters[i], parameter.bytes);
        }
        Card* const owner = &card;
        return put(*stream, Operation{kernel->name.c_str(),
                                      [=] { return run_kernel(*owner, *kernel, grid, arguments->data()); }, nullptr});
    });
}
