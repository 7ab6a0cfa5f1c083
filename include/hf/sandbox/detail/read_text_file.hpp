#ifndef HF_SANDBOX_DETAIL_READ_TEXT_FILE_HPP
#define HF_SANDBOX_DETAIL_READ_TEXT_FILE_HPP

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace hf::detail {

/// All bytes of a file; nothing when it cannot be opened. What cannot be read, as a directory, is
/// empty: `istream::read` takes such a failure as an end, a stream buffer's iterator would throw.
template <class = void>
[[nodiscard]] std::optional<std::string> read_text_file(std::filesystem::path const& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return std::nullopt;
  std::string text;
  char block[16384];
  do {
    in.read(block, sizeof block);
    text.append(block, static_cast<std::size_t>(in.gcount()));
  } while (in);
  return text;
}

}  // namespace hf::detail

#endif
