#ifndef HF_SANDBOX_DETAIL_UTF8_HPP
#define HF_SANDBOX_DETAIL_UTF8_HPP

#include <cstddef>
#include <string>
#include <string_view>

namespace hf::detail {

/// Length of the well-formed UTF-8 sequence (Unicode table 3-7) at the front of `text`; 0 when
/// there is none.
[[nodiscard]] constexpr std::size_t utf8_sequence(std::string_view text) noexcept {
  if (text.empty())
    return 0;
  auto const at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char const first = at(0);
  if (first < 0x80)
    return 1;
  std::size_t const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length)
    return 0;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (first == 0xe0)
    low = 0xa0;
  if (first == 0xed)
    high = 0x9f;
  if (first == 0xf0)
    low = 0x90;
  if (first == 0xf4)
    high = 0x8f;
  if (at(1) < low || at(1) > high)
    return 0;
  for (std::size_t i = 2; i < length; ++i)
    if ((at(i) & 0xc0) != 0x80)
      return 0;
  return length;
}

/// Whether the bytes are UTF-8.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    auto const length = utf8_sequence(text);
    if (length == 0)
      return false;
    text.remove_prefix(length);
  }
  return true;
}

/// The text with every byte that is not part of UTF-8 replaced by U+FFFD.
template <class = void>
[[nodiscard]] std::string utf8_lossy(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    auto const length = utf8_sequence(text);
    if (length == 0)
      out += "\xef\xbf\xbd";
    else
      out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace hf::detail

#endif
