// cuBLAS in the place of the real one: matrix products in the order of a stream, one loop over the inputs for each output.
#include <cublas_v2.h>
#include <cuda.h>

#include <vector>

#include "numeric.cuh"

extern "C" CUresult sconce_card_enqueue(CUstream stream, const char* what, void (*run)(const void*), const void* bytes,
                                        size_t size);

struct cublasContext {
    CUstream stream;
};

namespace {

// Matrices lie column after column; a transposed one row after row.
struct Operand {
    const void* values;
    cudaDataType type;
    bool transposed;
    long long leading, stride;
};

struct Product {
    Operand left, right;
    void* result;
    cudaDataType type;
    long long leading, stride;
    long long rows, columns, inputs, batches;
    double alpha, beta;
};

double load(const void* values, cudaDataType type, long long index) {
    switch (type) {
        case CUDA_R_64F: return static_cast<const double*>(values)[index];
        case CUDA_R_32F: return static_cast<const float*>(values)[index];
        case CUDA_R_16F: return to_float(static_cast<const F16*>(values)[index]);
        default: return to_float(static_cast<const Bf16*>(values)[index]);
    }
}

void store(void* values, cudaDataType type, long long index, double value) {
    switch (type) {
        case CUDA_R_64F: static_cast<double*>(values)[index] = value; break;
        case CUDA_R_32F: static_cast<float*>(values)[index] = static_cast<float>(value); break;
        case CUDA_R_16F: static_cast<F16*>(values)[index] = rounded<F16>(static_cast<float>(value)); break;
        default: static_cast<Bf16*>(values)[index] = rounded<Bf16>(static_cast<float>(value));
    }
}

// An operand with the inputs of each row or column side by side.
template <typename T>
std::vector<T> gathered(const Operand& operand, long long batch, long long outputs, long long inputs, bool inputs_first) {
    std::vector<T> values(static_cast<size_t>(outputs * inputs));
    for (long long output = 0; output < outputs; ++output) {
        for (long long input = 0; input < inputs; ++input) {
            const long long place = inputs_first ? output * operand.leading + input : input * operand.leading + output;
            const double value = load(operand.values, operand.type, batch * operand.stride + place);
            values[static_cast<size_t>(output * inputs + input)] = static_cast<T>(value);
        }
    }
    return values;
}

template <typename T>
void multiply(const Product& product) {
    const long long inputs = product.inputs;
    for (long long batch = 0; batch < product.batches; ++batch) {
        const auto left = gathered<T>(product.left, batch, product.rows, inputs, product.left.transposed);
        const auto right = gathered<T>(product.right, batch, product.columns, inputs, !product.right.transposed);
        for (long long column = 0; column < product.columns; ++column) {
            for (long long row = 0; row < product.rows; ++row) {
                const T *a = &left[static_cast<size_t>(row * inputs)], *b = &right[static_cast<size_t>(column * inputs)];
                T sum = 0;
                for (long long i = 0; i < inputs; ++i) sum += a[i] * b[i];
                const long long place = batch * product.stride + column * product.leading + row;
                // What is multiplied by zero is not read: it may be no number.
                const double before = product.beta == 0 ? 0 : product.beta * load(product.result, product.type, place);
                store(product.result, product.type, place, product.alpha * static_cast<double>(sum) + before);
            }
        }
    }
}

cublasStatus_t put(cublasHandle_t handle, const Product& product, bool doubles) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    const bool is_large = product.left.leading > 0 && product.right.leading > 0 && product.leading >= product.rows;
    if (!is_large || product.rows < 0 || product.columns < 0 || product.inputs < 0) return CUBLAS_STATUS_INVALID_VALUE;
    const auto run = [](const void* bytes) { multiply<float>(*static_cast<const Product*>(bytes)); };
    const auto run_doubles = [](const void* bytes) { multiply<double>(*static_cast<const Product*>(bytes)); };
    const CUresult result = sconce_card_enqueue(handle->stream, "a product of matrices",
                                                doubles ? static_cast<void (*)(const void*)>(run_doubles) : run, &product,
                                                sizeof(product));
    return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

bool is_known(cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF; }

}  // namespace

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    *handle = new cublasContext{nullptr};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    handle->stream = reinterpret_cast<CUstream>(stream);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t left_operation,
                                          cublasOperation_t right_operation, int m, int n, int k, const void* alpha,
                                          const void* left, cudaDataType left_type, int left_leading, long long left_stride,
                                          const void* right, cudaDataType right_type, int right_leading,
                                          long long right_stride, const void* beta, void* result, cudaDataType result_type,
                                          int leading, long long stride, int batches, cublasComputeType_t compute,
                                          cublasGemmAlgo_t) {
    // Sums in single precision only: that is what is asked for unless somebody trades exactness for speed.
    if (compute != CUBLAS_COMPUTE_32F || !is_known(left_type) || !is_known(right_type) || !is_known(result_type)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    const Product product = {{left, left_type, left_operation != CUBLAS_OP_N, left_leading, left_stride},
                             {right, right_type, right_operation != CUBLAS_OP_N, right_leading, right_stride},
                             result, result_type, leading, stride, m, n, k, batches,
                             *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
    return put(handle, product, false);
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t left_operation,
                                         cublasOperation_t right_operation, int m, int n, int k, const double* alpha,
                                         const double* left, int left_leading, long long left_stride, const double* right,
                                         int right_leading, long long right_stride, const double* beta, double* result,
                                         int leading, long long stride, int batches) {
    const Product product = {{left, CUDA_R_64F, left_operation != CUBLAS_OP_N, left_leading, left_stride},
                             {right, CUDA_R_64F, right_operation != CUBLAS_OP_N, right_leading, right_stride},
                             result, CUDA_R_64F, leading, stride, m, n, k, batches, *alpha, *beta};
    return put(handle, product, true);
}
