#ifndef HF_SANDBOX_AGENT_DETAIL_SHA256_HPP
#define HF_SANDBOX_AGENT_DETAIL_SHA256_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hf::agent {

using sha256_digest = std::array<unsigned char, 32>;

/// SHA-256 (FIPS 180-4) of bytes that come in pieces. Here and not from OpenSSL, which would double
/// the size of the static binary.
class sha256 {
 public:
  void update(std::string_view bytes);
  /// The digest of all bytes so far; once.
  [[nodiscard]] sha256_digest finish();

 private:
  void block(unsigned char const* data);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> partial_{};
  std::size_t filled_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace hf::agent

#endif
