// What the cards are, and the contexts on them: each has its primary one only.
#include "card.hpp"

#include <cstdio>

using namespace card;

namespace {

CUresult of_device(CUdevice device, const std::function<CUresult(Card&)>& body) {
    return call_without_card([&] {
        if (cards.empty()) return CUDA_ERROR_NOT_INITIALIZED;
        if (device < 0 || static_cast<size_t>(device) >= cards.size()) return CUDA_ERROR_INVALID_DEVICE;
        return body(cards[device]);
    });
}

}  // namespace

CUresult cuDriverGetVersion(int* version) {
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
    return call_without_card([&] {
        *count = static_cast<int>(cards.size());
        return cards.empty() ? CUDA_ERROR_NOT_INITIALIZED : CUDA_SUCCESS;
    });
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    return of_device(ordinal, [&](Card&) {
        *device = ordinal;
        return CUDA_SUCCESS;
    });
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    return of_device(device, [&](Card&) {
        std::snprintf(name, static_cast<size_t>(length), "Emulated card");
        return CUDA_SUCCESS;
    });
}

CUresult cuDeviceTotalMem(size_t* bytes, CUdevice device) {
    return of_device(device, [&](Card& card) {
        *bytes = card.total_bytes;
        return CUDA_SUCCESS;
    });
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
    const int capability = static_cast<int>(setting("SCONCE_EMULATED_CAPABILITY", 90));
    return of_device(device, [&](Card&) {
        switch (attribute) {
            case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = capability / 10; break;
            case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = capability % 10; break;
            case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
                *value = static_cast<int>(setting("SCONCE_EMULATED_MULTIPROCESSORS", 132));
                break;
            case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
            case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
            case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
            case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
            case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = 227 * 1024; break;
            default: say("attribute %d is not known", static_cast<int>(attribute)); return CUDA_ERROR_INVALID_VALUE;
        }
        return CUDA_SUCCESS;
    });
}

CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice device) {
    return of_device(device, [&](Card& card) {
        *pool = reinterpret_cast<CUmemoryPool>(&card);
        return CUDA_SUCCESS;
    });
}

CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute attribute, void*) {
    return attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    return of_device(device, [&](Card& card) {
        *context = reinterpret_cast<CUcontext>(&card);
        return card.lost;
    });
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return of_device(device, [](Card&) { return CUDA_SUCCESS; });
}

CUresult cuCtxDestroy(CUcontext) { return CUDA_ERROR_INVALID_CONTEXT; }

CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = reinterpret_cast<CUcontext>(current);
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    current = reinterpret_cast<Card*>(context);
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** text) {
    switch (error) {
        case CUDA_SUCCESS: *text = "no error"; break;
        case CUDA_ERROR_INVALID_VALUE: *text = "invalid argument"; break;
        case CUDA_ERROR_OUT_OF_MEMORY: *text = "out of memory"; break;
        case CUDA_ERROR_ILLEGAL_ADDRESS: *text = "an illegal memory access was encountered"; break;
        case CUDA_ERROR_MISALIGNED_ADDRESS: *text = "misaligned address"; break;
        case CUDA_ERROR_NOT_FOUND: *text = "named symbol not found"; break;
        default: *text = "an error of the emulated card";
    }
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char** text) { return cuGetErrorString(error, text); }
