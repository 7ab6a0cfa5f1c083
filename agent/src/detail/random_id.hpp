#ifndef HF_SANDBOX_AGENT_DETAIL_RANDOM_ID_HPP
#define HF_SANDBOX_AGENT_DETAIL_RANDOM_ID_HPP

#include <sys/random.h>

#include <cerrno>
#include <stdexcept>
#include <string>

namespace hf::agent {

/// 128 random bits as 32 hexadecimal digits.
inline std::string random_id() {
  unsigned char bytes[16];
  std::size_t have = 0;
  while (have < sizeof bytes) {
    ssize_t const n = ::getrandom(bytes + have, sizeof bytes - have, 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      throw std::runtime_error("the system gives no random bytes");
    have += static_cast<std::size_t>(n);
  }
  std::string text;
  for (unsigned char const byte : bytes) {
    text.push_back("0123456789abcdef"[byte >> 4]);
    text.push_back("0123456789abcdef"[byte & 15]);
  }
  return text;
}

}  // namespace hf::agent

#endif
