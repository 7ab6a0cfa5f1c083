# Cross-builds the agent for aarch64 with Debian's and Ubuntu's g++-aarch64-linux-gnu:
#   cmake -S agent -B build/agent-aarch64 --toolchain cmake/toolchains/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(HF_SANDBOX_QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(HF_SANDBOX_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${HF_SANDBOX_QEMU_AARCH64}")
endif()
