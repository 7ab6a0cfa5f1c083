#ifndef HF_SANDBOX_AGENT_HTTP_AUTH_HPP
#define HF_SANDBOX_AGENT_HTTP_AUTH_HPP

#include <cstddef>
#include <string_view>

namespace hf::agent {

/// Compares a credential in a time that depends on the offered one's length only.
inline bool equal_in_constant_time(std::string_view secret, std::string_view offered) noexcept {
  unsigned difference = secret.size() == offered.size() ? 0U : 1U;
  for (std::size_t i = 0; i < offered.size(); ++i) {
    unsigned char const expected =
        secret.empty() ? '\0' : static_cast<unsigned char>(secret[i % secret.size()]);
    unsigned volatile const bits = expected ^ static_cast<unsigned char>(offered[i]);
    difference |= bits;
  }
  return difference == 0 && !secret.empty();
}

}  // namespace hf::agent

#endif
