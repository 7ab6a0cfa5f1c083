#include "exec/event_encoder.hpp"

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace hf::agent {
namespace {

// The longest encoded_at_once that is escaped with one look at the buffer's room; a byte becomes
// six at most.
constexpr std::size_t encoded_at_once = 4096;

// Copies plain ASCII that needs no escape, in blocks that may overshoot `to`'s end by a block, and
// returns how much there was.
#if defined(__SSE2__)
constexpr std::size_t block = 16;
std::size_t copy_plain(unsigned char const* from, std::size_t size, char* to) {
  __m128i const quote = _mm_set1_epi8('"');
  __m128i const backslash = _mm_set1_epi8('\\');
  __m128i const space = _mm_set1_epi8(' ');
  std::size_t done = 0;
  while (size - done >= block) {
    __m128i const bytes = _mm_loadu_si128(reinterpret_cast<__m128i const*>(from + done));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + done), bytes);
    // Signed: control characters and everything that is not ASCII are below the space.
    __m128i const special =
        _mm_or_si128(_mm_cmplt_epi8(bytes, space),
                     _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
    int const mask = _mm_movemask_epi8(special);
    if (mask != 0)
      return done + static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(mask)));
    done += block;
  }
  return done;
}
#else
constexpr std::size_t block = 8;
std::size_t copy_plain(unsigned char const* from, std::size_t size, char* to) {
  constexpr std::uint64_t ones = 0x0101010101010101u;
  constexpr std::uint64_t tops = 0x8080808080808080u;
  auto const zero_byte = [](std::uint64_t x) { return (x - ones) & ~x & tops; };
  std::size_t done = 0;
  while (size - done >= block) {
    std::uint64_t bytes;
    std::memcpy(&bytes, from + done, block);
    std::memcpy(to + done, &bytes, block);
    std::uint64_t const special = (bytes & tops) | ((bytes - ones * 0x20) & ~bytes & tops) |
                                  zero_byte(bytes ^ (ones * '"')) |
                                  zero_byte(bytes ^ (ones * '\\'));
    if (special != 0)
      return done;
    done += block;
  }
  return done;
}
#endif

constexpr char hex[] = "0123456789abcdef";

char* put_escape(char* to, unsigned code) {
  *to++ = '\\';
  *to++ = 'u';
  for (int shift = 12; shift >= 0; shift -= 4)
    *to++ = hex[(code >> shift) & 15];
  return to;
}

char* put_ascii(char* to, unsigned char c) {
  char letter = 0;
  switch (c) {
    case '"':
    case '\\':
      letter = static_cast<char>(c);
      break;
    case '\n':
      letter = 'n';
      break;
    case '\r':
      letter = 'r';
      break;
    case '\t':
      letter = 't';
      break;
    case '\b':
      letter = 'b';
      break;
    case '\f':
      letter = 'f';
      break;
    default:
      break;
  }
  if (letter != 0) {
    *to++ = '\\';
    *to++ = letter;
    return to;
  }
  if (c < 0x20)
    return put_escape(to, c);
  *to++ = static_cast<char>(c);
  return to;
}

// The common characters of two and three bytes, without those that need a closer look.
void copy_wide(unsigned char const*& from, unsigned char const* stop, char*& to) {
  while (stop - from >= 4) {
    unsigned char const first = from[0];
    if (first >= 0xe1 && first <= 0xef && first != 0xe2 && first != 0xed &&
        (from[1] & 0xc0) == 0x80 && (from[2] & 0xc0) == 0x80) {
      std::memcpy(to, from, 4);
      from += 3;
      to += 3;
    } else if (first >= 0xc3 && first <= 0xdf && (from[1] & 0xc0) == 0x80) {
      std::memcpy(to, from, 2);
      from += 2;
      to += 2;
    } else {
      return;
    }
  }
}

char* put_character(char* to, unsigned char const* from, std::size_t length) {
  if (length == 2 && from[0] == 0xc2 && from[1] == 0x85)
    return put_escape(to, 0x85);
  if (length == 3 && from[0] == 0xe2 && from[1] == 0x80 && (from[2] & 0xfe) == 0xa8)
    return put_escape(to, 0x2000u + (from[2] & 0x3fu));
  std::memcpy(to, from, length);
  return to + length;
}

// Bytes that are replaced by one U+FFFD: the longest part of a character that could have been.
std::size_t broken_length(std::string_view bytes) {
  auto const at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  unsigned char const first = at(0);
  if (first < 0xc2 || first > 0xf4 || bytes.size() < 2)
    return 1;
  unsigned char const low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned char const high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (at(1) < low || at(1) > high)
    return 1;
  if (first < 0xf0 || bytes.size() < 3 || (at(2) & 0xc0) != 0x80)
    return 2;
  return 3;
}

}  // namespace

bool append_json_text(byte_buffer& out, std::string_view bytes, bool lossy) {
  std::size_t const before = out.size();
  auto const* from = reinterpret_cast<unsigned char const*>(bytes.data());
  auto const* const end = from + bytes.size();
  while (from != end) {
    auto const* const stop =
        from + (std::min)(encoded_at_once, static_cast<std::size_t>(end - from));
    char* const begin = out.reserve(6 * encoded_at_once + block);
    char* to = begin;
    while (from < stop) {
      if (*from < 0x80) {
        std::size_t const plain = copy_plain(from, static_cast<std::size_t>(stop - from), to);
        from += plain;
        to += plain;
        // What follows is special, or shorter than a block.
        while (from != stop && *from < 0x80) {
          unsigned char const c = *from++;
          to = put_ascii(to, c);
          if (c < 0x20 || c == '"' || c == '\\')
            break;
        }
        continue;
      }
      auto const* const wide = from;
      copy_wide(from, stop, to);
      if (from != wide)
        continue;
      std::string_view const rest(reinterpret_cast<char const*>(from),
                                  static_cast<std::size_t>(end - from));
      std::size_t length = hf::detail::utf8_sequence(rest);
      if (length != 0) {
        to = put_character(to, from, length);
      } else if (lossy) {
        length = broken_length(rest);
        std::memcpy(to, "\xef\xbf\xbd", 3);
        to += 3;
      } else {
        out.shrink_to(before);
        return false;
      }
      from += length;
    }
    out.grow_by(static_cast<std::size_t>(to - begin));
  }
  return true;
}

void append_output_event(byte_buffer& out, wire::output_stream stream, std::string_view bytes,
                         std::uint64_t seq) {
  std::size_t const before = out.size();
  out.append("{\"data\":\"");
  if (!append_json_text(out, bytes, seq == 0)) {
    out.shrink_to(before);
    out.append("{\"b64\":\"");
    std::string encoded;
    hf::detail::base64_append(encoded, bytes);
    out.append(encoded);
  }
  out.append(stream == wire::output_stream::out ? "\",\"event\":\"stdout\""
                                                : "\",\"event\":\"stderr\"");
  if (seq != 0) {
    char digits[24];
    auto const written = std::to_chars(digits, digits + sizeof digits, seq);
    out.append(",\"seq\":");
    out.append({digits, static_cast<std::size_t>(written.ptr - digits)});
  }
  out.append("}\n");
}

void append_event(byte_buffer& out, wire::event const& event) {
  out.append(wire::event_to_json(event).dump());
  out.append("\n");
}

std::size_t incomplete_utf8_tail(std::string_view bytes) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    auto const c = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((c & 0xc0) == 0x80)
      continue;
    if (c < 0xc2 || c > 0xf4)
      return 0;
    std::size_t const length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (length <= back)
      return 0;
    // Could it still become a character? Complete it with the lowest or highest continuation.
    auto const tail = bytes.substr(bytes.size() - back);
    for (char const fill : {'\x80', '\x90', '\xa0', '\xbf'}) {
      char whole[4];
      std::memcpy(whole, tail.data(), back);
      std::memset(whole + back, fill, length - back);
      if (hf::detail::utf8_sequence({whole, length}) == length)
        return back;
    }
    return 0;
  }
  return 0;
}

}  // namespace hf::agent
