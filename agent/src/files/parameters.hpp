#ifndef HF_SANDBOX_AGENT_FILES_PARAMETERS_HPP
#define HF_SANDBOX_AGENT_FILES_PARAMETERS_HPP

#include "http/exchange.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace hf::agent {

/// Query parameters of the file routes. What is malformed is a 400, never a default.
class file_parameters {
 public:
  explicit file_parameters(request_head const& head) : head_(head) {}

  /// The required, non-empty `path`.
  [[nodiscard]] std::string const& path() const;
  /// Bytes as they came; empty when absent.
  [[nodiscard]] std::string text(std::string const& name) const;
  /// A decimal number up to 2^63 - 1; nothing when absent.
  [[nodiscard]] std::optional<std::uint64_t> number(std::string const& name) const;
  /// `true`, `1`, `false` or `0`.
  [[nodiscard]] bool flag(std::string const& name, bool absent) const;
  /// `mode`: octal, permission bits only; nothing when absent.
  [[nodiscard]] std::optional<mode_t> mode() const;
  /// `op`: 32 hexadecimal digits, in lower case; empty when absent.
  [[nodiscard]] std::string operation() const;

 private:
  [[nodiscard]] std::string const* find(std::string const& name) const;

  request_head const& head_;
};

}  // namespace hf::agent

#endif
