#ifndef HF_SANDBOX_DETAIL_BASE64_HPP
#define HF_SANDBOX_DETAIL_BASE64_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace hf::detail {

inline constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

template <class = void>
struct basic_base64_tables {
  /// Two characters for every 12 bits.
  char pairs[4096][2];
  /// Value of a character, shifted to its place in a group of 24 bits; the top bit marks others.
  std::uint32_t values[4][256];

  basic_base64_tables() noexcept {
    for (std::size_t i = 0; i < 4096; ++i) {
      pairs[i][0] = base64_alphabet[i >> 6];
      pairs[i][1] = base64_alphabet[i & 63];
    }
    for (auto& table : values)
      for (auto& value : table)
        value = 0x80000000u;
    for (std::uint32_t i = 0; i < 64; ++i)
      for (std::uint32_t place = 0; place < 4; ++place)
        values[place][static_cast<unsigned char>(base64_alphabet[i])] = i << (18 - 6 * place);
  }
};
using base64_tables = basic_base64_tables<>;

/// Filled at the first use: as a constant they would be computed anew by every compilation.
template <class = void>
[[nodiscard]] base64_tables const& base64_table() noexcept {
  static base64_tables const tables;
  return tables;
}

/// Characters that `size` bytes need.
[[nodiscard]] constexpr std::size_t base64_encoded_size(std::size_t size) noexcept {
  return (size + 2) / 3 * 4;
}

/// Appends the padded base64 form (RFC 4648, 4) of `data` to `out`.
template <class = void>
void base64_append(std::string& out, std::string_view data) {
  std::size_t const begin = out.size();
  out.resize(begin + base64_encoded_size(data.size()));
  auto const* in = reinterpret_cast<unsigned char const*>(data.data());
  char* to = out.data() + begin;
  auto const& pairs = base64_table().pairs;
  std::size_t left = data.size();
  for (; left >= 3; left -= 3, in += 3, to += 4) {
    std::uint32_t const group = (std::uint32_t{in[0]} << 16) | (std::uint32_t{in[1]} << 8) | in[2];
    std::memcpy(to, pairs[group >> 12], 2);
    std::memcpy(to + 2, pairs[group & 0xfff], 2);
  }
  if (left == 0)
    return;
  std::uint32_t const group =
      (std::uint32_t{in[0]} << 16) | (left == 2 ? std::uint32_t{in[1]} << 8 : 0u);
  std::memcpy(to, pairs[group >> 12], 2);
  to[2] = left == 2 ? base64_alphabet[(group >> 6) & 63] : '=';
  to[3] = '=';
}

/// The padded base64 form of `data`.
template <class = void>
[[nodiscard]] std::string base64_encode(std::string_view data) {
  std::string out;
  base64_append(out, data);
  return out;
}

/// Appends the bytes that `text` stands for to `out`. Strict: padding is required, white space,
/// foreign characters and stray bits in the last group are refused. False: `out` is unchanged.
template <class = void>
[[nodiscard]] bool base64_decode_append(std::string& out, std::string_view text) {
  if (text.size() % 4 != 0)
    return false;
  if (text.empty())
    return true;
  std::size_t const padding = text[text.size() - 1] != '='   ? 0u
                              : text[text.size() - 2] != '=' ? 1u
                                                             : 2u;
  std::size_t const begin = out.size();
  out.resize(begin + text.size() / 4 * 3 - padding);
  auto const* in = reinterpret_cast<unsigned char const*>(text.data());
  char* to = out.data() + begin;
  auto const& v = base64_table().values;
  std::uint32_t bad = 0;
  std::size_t const whole = text.size() / 4 - (padding != 0 ? 1u : 0u);
  for (std::size_t i = 0; i < whole; ++i, in += 4, to += 3) {
    std::uint32_t const group = v[0][in[0]] | v[1][in[1]] | v[2][in[2]] | v[3][in[3]];
    bad |= group;
    to[0] = static_cast<char>(group >> 16);
    to[1] = static_cast<char>(group >> 8);
    to[2] = static_cast<char>(group);
  }
  if (padding != 0) {
    std::uint32_t const group = v[0][in[0]] | v[1][in[1]] | (padding == 1 ? v[2][in[2]] : 0u);
    bad |= group;
    if ((group & (padding == 1 ? 0xffu : 0xffffu)) != 0)
      bad |= 0x80000000u;
    to[0] = static_cast<char>(group >> 16);
    if (padding == 1)
      to[1] = static_cast<char>(group >> 8);
  }
  if ((bad & 0x80000000u) == 0)
    return true;
  out.resize(begin);
  return false;
}

/// The bytes that `text` stands for; nothing when it is not strict, padded base64.
template <class = void>
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text) {
  std::string out;
  if (!base64_decode_append(out, text))
    return std::nullopt;
  return out;
}

}  // namespace hf::detail

#endif
