/* What CUDA and its libraries say, in one line. */
#include "kernels/cuda/cuda.h"

int cuda_failed(cudaError_t status, const char *what, Error *err)
{
    if (status == cudaSuccess) return 0;
    switch (status) {
    case cudaErrorMemoryAllocation: return error_set(err, "%s: the GPU's memory is full", what);
    case cudaErrorInsufficientDriver:
        return error_set(err, "%s: there is no NVIDIA driver, or it is older than CUDA %d.%d needs",
                         what, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    case cudaErrorNoDevice: return error_set(err, "%s: the machine has no NVIDIA GPU", what);
    case cudaErrorInvalidDevice: return error_set(err, "%s: there is no such GPU", what);
    default:
        return error_set(err, "%s: CUDA: %s (%s)", what, cudaGetErrorString(status),
                         cudaGetErrorName(status));
    }
}

int cudnn_failed(cudnnStatus_t status, const char *what, Error *err)
{
    if (status == CUDNN_STATUS_SUCCESS) return 0;
    if (status == CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH)
        return error_set(err, "%s: cuDNN's parts are of several versions; one of %d.%d is needed",
                         what, CUDNN_MAJOR, CUDNN_MINOR);
    return error_set(err, "%s: cuDNN: %s", what, cudnnGetErrorString(status));
}

int blas_failed(cublasStatus_t status, const char *what, Error *err)
{
    if (status == CUBLAS_STATUS_SUCCESS) return 0;
    return error_set(err, "%s: cuBLAS: %s", what, cublasLtGetStatusString(status));
}

void cuda_note(CudaDevice *device, cudaError_t status, const char *what)
{
    if (status != cudaSuccess && !device->failure.text[0])
        cuda_failed(status, what, &device->failure);
}

int cuda_noted(CudaDevice *device, Error *err)
{
    if (!device->failure.text[0]) return 0;
    error_set(err, "%s", device->failure.text);
    device->failure.text[0] = '\0';
    return -1;
}
