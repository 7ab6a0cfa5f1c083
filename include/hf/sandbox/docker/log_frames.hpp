#ifndef HF_SANDBOX_DOCKER_LOG_FRAMES_HPP
#define HF_SANDBOX_DOCKER_LOG_FRAMES_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hf::detail::docker {

/// The text in an engine's multiplexed log: frames of a stream number, three zeros, the length in
/// four bytes (big endian), and that many bytes. A log without frames is returned as it is.
template <class = void>
[[nodiscard]] std::string text_of_log_frames(std::string_view raw) {
  std::string out;
  auto rest = raw;
  while (!rest.empty()) {
    if (rest.size() < 8 || rest[0] < 0 || rest[0] > 2 || rest[1] != 0 || rest[2] != 0 ||
        rest[3] != 0)
      return out.empty() ? std::string(raw) : out;
    std::uint32_t size = 0;
    for (std::size_t i = 4; i < 8; ++i)
      size = (size << 8) | static_cast<unsigned char>(rest[i]);
    rest.remove_prefix(8);
    out.append(rest.substr(0, size));
    rest.remove_prefix((std::min<std::size_t>)(size, rest.size()));
  }
  return out;
}

}  // namespace hf::detail::docker

#endif
