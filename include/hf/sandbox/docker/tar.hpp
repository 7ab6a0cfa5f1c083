#ifndef HF_SANDBOX_DOCKER_TAR_HPP
#define HF_SANDBOX_DOCKER_TAR_HPP

#include <hf/sandbox/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hf::detail::docker {

/// Writes a POSIX (ustar) archive in memory: what the engine's archive endpoint takes.
template <class = void>
class basic_tar_writer {
 public:
  /// A directory; `name` without a leading slash, at most 99 bytes.
  void directory(std::string_view name, unsigned mode) {
    header(std::string(name) + "/", mode, 0, '5');
  }
  /// A regular file; `name` without a leading slash, at most 99 bytes, content below 8 GiB.
  void file(std::string_view name, unsigned mode, std::string_view content) {
    header(name, mode, content.size(), '0');
    out_.append(content);
    out_.append((block - content.size() % block) % block, '\0');
  }
  /// The whole archive, ended by its two empty blocks. Call once.
  [[nodiscard]] std::string finish() && {
    out_.append(2 * block, '\0');
    return std::move(out_);
  }

 private:
  static constexpr std::size_t block = 512;

  // Fields and their places: POSIX.1-2017, pax, "ustar Interchange Format".
  void header(std::string_view name, unsigned mode, std::uint64_t size, char type) {
    if (name.empty() || name.size() > 99 || size >= (std::uint64_t{1} << 33))
      throw error(errc::internal, "a tar entry's name or size is out of range");
    std::array<char, block> h{};
    std::copy(name.begin(), name.end(), h.begin());
    auto const octal = [&](std::size_t at, std::size_t digits, std::uint64_t value) {
      for (auto i = digits; i-- > 0; value >>= 3)
        h[at + i] = static_cast<char>('0' + (value & 7));
    };
    octal(100, 7, mode);
    octal(108, 7, 0);
    octal(116, 7, 0);
    octal(124, 11, size);
    octal(136, 11, 0);
    h[156] = type;
    constexpr std::string_view magic("ustar\00000", 8);
    std::copy(magic.begin(), magic.end(), h.begin() + 257);
    std::fill_n(h.begin() + 148, 8, ' ');
    unsigned sum = 0;
    for (char const c : h)
      sum += static_cast<unsigned char>(c);
    octal(148, 6, sum);
    h[155] = ' ';
    out_.append(h.data(), h.size());
  }

  std::string out_;
};
using tar_writer = basic_tar_writer<>;

}  // namespace hf::detail::docker

#endif
