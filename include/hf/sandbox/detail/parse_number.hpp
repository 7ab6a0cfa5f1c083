#ifndef HF_SANDBOX_DETAIL_PARSE_NUMBER_HPP
#define HF_SANDBOX_DETAIL_PARSE_NUMBER_HPP

#include <cstdint>
#include <optional>
#include <string_view>

namespace hf::detail {

/// The number that a text of digits is; nothing when anything else is in it, when it is empty, and
/// when the number is larger than `largest`. Signs, blanks and prefixes count as anything else.
template <unsigned Base = 10>
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text,
                                                        std::uint64_t largest = UINT64_MAX) {
  std::uint64_t number = 0;
  for (char const c : text) {
    unsigned const digit = c >= '0' && c <= '9'   ? static_cast<unsigned>(c - '0')
                           : c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a') + 10
                           : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A') + 10
                                                  : Base;
    if (digit >= Base || digit > largest || number > (largest - digit) / Base)
      return std::nullopt;
    number = number * Base + digit;
  }
  return text.empty() ? std::nullopt : std::optional<std::uint64_t>(number);
}

}  // namespace hf::detail

#endif
