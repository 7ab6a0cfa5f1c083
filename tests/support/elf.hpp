#ifndef HF_SANDBOX_TESTS_SUPPORT_ELF_HPP
#define HF_SANDBOX_TESTS_SUPPORT_ELF_HPP

#include <elf.h>

#include <cstring>
#include <fstream>
#include <string>

namespace hf::testing_support {

/// Whether a 64-bit ELF program runs without a dynamic loader (it has no PT_INTERP segment).
inline bool is_static_program(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!file.read(reinterpret_cast<char*>(&header), sizeof header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    file.seekg(static_cast<std::streamoff>(header.e_phoff + i * header.e_phentsize));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment) ||
        segment.p_type == PT_INTERP)
      return false;
  }
  return true;
}

}  // namespace hf::testing_support

#endif
