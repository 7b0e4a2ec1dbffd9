# libflexhpc_cuda.so, in one of two forms that share every source of cuda/.
file(GLOB FLEXHPC_CUDA_C CONFIGURE_DEPENDS cuda/*.c)
file(GLOB FLEXHPC_CUDA_CU CONFIGURE_DEPENDS cuda/*.cu)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

if(FX_CUDA STREQUAL "STANDIN")
  enable_language(CXX)
  file(GLOB FAKECUDA_SOURCES CONFIGURE_DEPENDS tests/fakecuda/*.cpp)
  list(FILTER FAKECUDA_SOURCES EXCLUDE REGEX "/test_")
  add_library(fakecuda SHARED ${FAKECUDA_SOURCES})
  target_link_libraries(fakecuda PUBLIC flexhpc)
  target_include_directories(fakecuda PUBLIC tests/fakecuda)
  target_include_directories(fakecuda SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS} ${CUDNN_INCLUDE_DIR} ${NCCL_INCLUDE_DIR})
  target_include_directories(fakecuda PRIVATE src)
  target_compile_definitions(fakecuda PUBLIC FX_SIMT)
  # Its cuDNN plans with the installed library, where there is one, for this device.
  set_source_files_properties(tests/fakecuda/cudnn.cpp PROPERTIES COMPILE_DEFINITIONS
    "FX_FAKE_CUDNN=\"${CUDNN_LIBRARY}\";FX_FAKE_DEVICE=\"${CMAKE_SOURCE_DIR}/tests/cuda/devices/h100.json\"")
  # A context switch that keeps the registers of the calling convention, and stacks that no shadow stack knows.
  target_compile_options(fakecuda PRIVATE -fcf-protection=none)
  add_library(flexhpc_cuda SHARED ${FLEXHPC_CUDA_C} ${FLEXHPC_CUDA_CU})
  # A call before every load and store of the kernels, for tests/fakecuda/traffic.cpp to count; no other part of the
  # sanitizer is used. Together with AddressSanitizer it can't be had.
  set(COUNTED "-xc++")
  if(NOT FLEXHPC_SANITIZE)
    list(APPEND COUNTED -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)
  endif()
  set_source_files_properties(${FLEXHPC_CUDA_CU} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${COUNTED}")
  target_link_libraries(flexhpc_cuda PRIVATE flexhpc fakecuda)
else()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(architectures 80 90)
    if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
      list(APPEND architectures 100)
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${architectures} CACHE STRING "Compute capabilities; one alone builds faster")
  endif()
  enable_language(CUDA)
  list(JOIN CMAKE_CUDA_ARCHITECTURES ", " architectures)
  message(STATUS "CUDA backend: CUDA ${CUDAToolkit_VERSION}, cuDNN ${cudnn_version}, for ${architectures}")
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
  add_library(flexhpc_cuda SHARED ${FLEXHPC_CUDA_C} ${FLEXHPC_CUDA_CU})
  set_target_properties(flexhpc_cuda PROPERTIES CUDA_STANDARD 17 CUDA_RUNTIME_LIBRARY Shared)
  target_include_directories(flexhpc_cuda PRIVATE include)
  target_include_directories(flexhpc_cuda SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR} ${NCCL_INCLUDE_DIR})
  target_compile_definitions(flexhpc_cuda PRIVATE _GNU_SOURCE)
  target_compile_options(flexhpc_cuda PRIVATE $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wshadow -Wconversion>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra --expt-relaxed-constexpr>)
  if(FLEXHPC_WERROR)
    target_compile_options(flexhpc_cuda PRIVATE $<$<COMPILE_LANGUAGE:C>:-Werror>
      $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Werror --Werror=all-warnings>)
  endif()
  # The file alone: its compile options are not nvcc's. The driver (libcuda) is never linked: a login node has none.
  add_dependencies(flexhpc_cuda flexhpc)
  target_link_options(flexhpc_cuda PRIVATE LINKER:--as-needed)
  target_link_libraries(flexhpc_cuda PRIVATE $<TARGET_FILE:flexhpc> CUDA::cudart CUDA::cublasLt CUDA::cufft ${CUDNN_LIBRARY}
    ${NCCL_LIBRARY})
endif()
target_link_options(flexhpc_cuda PRIVATE LINKER:-z,defs)
# Also where CMake takes the toolkit's folder for one that every program searches.
get_filename_component(cudnn_folder "${CUDNN_LIBRARY}" DIRECTORY)
get_filename_component(nccl_folder "${NCCL_LIBRARY}" DIRECTORY)
set(folders ${CUDAToolkit_LIBRARY_DIR} ${cudnn_folder} ${nccl_folder})
list(REMOVE_DUPLICATES folders)
set_target_properties(flexhpc_cuda PROPERTIES BUILD_RPATH "${folders}" INSTALL_RPATH "$ORIGIN;${folders}"
  INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS flexhpc_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
