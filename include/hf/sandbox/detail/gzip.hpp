#ifndef HF_SANDBOX_DETAIL_GZIP_HPP
#define HF_SANDBOX_DETAIL_GZIP_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace hf::detail {

/// A small DEFLATE compressor (RFC 1951): hash chains, lazy matching, one dynamic Huffman code per
/// block. It exists so that the core needs no compression library to pack one binary.
template <class Word = std::uint32_t>
class deflate_writer {
 public:
  /// Appends the DEFLATE form of `data` to `out`.
  static void append(std::string& out, std::string_view data) {
    deflate_writer writer(out, data);
    writer.run();
  }

 private:
  static constexpr std::size_t window = 32768;
  static constexpr std::size_t longest_match = 258;
  static constexpr std::size_t block_symbols = 20000;
  static constexpr std::uint32_t none = 0xffffffffu;
  static constexpr std::array<std::uint16_t, 29> length_base{
      3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  static constexpr std::array<std::uint8_t, 29> length_extra{
      0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  static constexpr std::array<std::uint16_t, 30> distance_base{
      1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
      193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  static constexpr std::array<std::uint8_t, 30> distance_extra{
      0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
      6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

  /// A literal (distance 0) or a match.
  struct symbol {
    std::uint16_t value;
    std::uint16_t distance;
  };
  /// A code of the table of lengths, with its extra bits.
  struct run_code {
    std::uint8_t which;
    std::uint8_t extra;
  };
  struct huffman {
    std::vector<std::uint8_t> lengths;
    std::vector<std::uint16_t> codes;
  };

  deflate_writer(std::string& out, std::string_view data)
      : out_(out), data_(data), head_(std::size_t{1} << 15, none), previous_(window, none) {}

  void run() {
    std::size_t at = 0;
    std::pair<std::size_t, std::size_t> current = match(at);
    while (at < data_.size()) {
      insert(at);
      if (current.first < 3) {
        add_literal(at);
        current = match(++at);
        continue;
      }
      auto const next = match(at + 1);
      if (next.first > current.first) {
        add_literal(at++);
        current = next;
        continue;
      }
      symbols_.push_back(
          {static_cast<std::uint16_t>(current.first), static_cast<std::uint16_t>(current.second)});
      for (std::size_t i = 1; i < current.first; ++i)
        insert(at + i);
      at += current.first;
      if (symbols_.size() >= block_symbols)
        flush_block(false);
      current = match(at);
    }
    flush_block(true);
    if (bit_count_ > 0)
      put(0, 8 - bit_count_);
  }

  void add_literal(std::size_t at) {
    symbols_.push_back({static_cast<unsigned char>(data_[at]), 0});
    if (symbols_.size() >= block_symbols)
      flush_block(false);
  }

  [[nodiscard]] std::size_t hash(std::size_t at) const {
    auto const byte = [&](std::size_t i) {
      return std::uint32_t{static_cast<unsigned char>(data_[at + i])};
    };
    return ((byte(0) | byte(1) << 8 | byte(2) << 16) * 0x9E3779B1u) >> 17;
  }

  void insert(std::size_t at) {
    if (at + 3 > data_.size())
      return;
    auto& head = head_[hash(at)];
    previous_[at % window] = head;
    head = static_cast<std::uint32_t>(at);
  }

  /// Longest earlier occurrence of what begins at `at`: length and distance.
  [[nodiscard]] std::pair<std::size_t, std::size_t> match(std::size_t at) const {
    std::pair<std::size_t, std::size_t> best{0, 0};
    if (at + 3 > data_.size())
      return best;
    std::size_t const limit = (std::min)(longest_match, data_.size() - at);
    auto candidate = head_[hash(at)];
    for (int tries = 256; tries > 0 && candidate != none && candidate < at; --tries) {
      if (at - candidate > window - longest_match)
        break;
      std::size_t length = 0;
      while (length < limit && data_[candidate + length] == data_[at + length])
        ++length;
      if (length > best.first)
        best = {length, at - candidate};
      if (length == limit)
        break;
      auto const before = previous_[candidate % window];
      if (before == none || before >= candidate)
        break;
      candidate = before;
    }
    return best;
  }

  template <class Table>
  [[nodiscard]] static std::size_t slot(Table const& bases, std::size_t value) {
    return static_cast<std::size_t>(std::upper_bound(bases.begin(), bases.end(), value) -
                                    bases.begin()) -
           1;
  }

  /// Code lengths of at most `limit` bits; counts are flattened until they fit.
  [[nodiscard]] static huffman make_code(std::vector<Word> counts, unsigned limit) {
    huffman code;
    code.lengths.assign(counts.size(), 0);
    code.codes.assign(counts.size(), 0);
    for (;;) {
      struct node {
        std::uint64_t count;
        int left;
        int right;
      };
      std::vector<node> nodes;
      std::vector<std::make_signed_t<Word>> leaves;
      std::vector<std::size_t> symbol_of;
      for (std::size_t i = 0; i < counts.size(); ++i)
        if (counts[i] != 0) {
          leaves.push_back(static_cast<int>(nodes.size()));
          nodes.push_back({counts[i], -1, -1});
          symbol_of.push_back(i);
        }
      if (leaves.empty())
        return code;
      if (leaves.size() == 1) {
        code.lengths[symbol_of[0]] = 1;
        return code;
      }
      // Equal counts in the order of their symbols, so that the result is always the same.
      std::sort(leaves.begin(), leaves.end(), [&](int a, int b) {
        auto const first = nodes[static_cast<std::size_t>(a)].count;
        auto const second = nodes[static_cast<std::size_t>(b)].count;
        return first != second ? first < second : a < b;
      });
      std::vector<std::make_signed_t<Word>> merged;
      std::size_t next_leaf = 0;
      std::size_t next_merged = 0;
      auto const take = [&] {
        bool const leaf = next_merged == merged.size() ||
                          (next_leaf < leaves.size() &&
                           nodes[static_cast<std::size_t>(leaves[next_leaf])].count <=
                               nodes[static_cast<std::size_t>(merged[next_merged])].count);
        return leaf ? leaves[next_leaf++] : merged[next_merged++];
      };
      for (std::size_t i = 1; i < leaves.size(); ++i) {
        int const a = take();
        int const b = take();
        merged.push_back(static_cast<int>(nodes.size()));
        nodes.push_back(
            {nodes[static_cast<std::size_t>(a)].count + nodes[static_cast<std::size_t>(b)].count, a,
             b});
      }
      // Inner nodes come after their children: walk down from the root.
      std::vector<unsigned> depth(nodes.size(), 0);
      unsigned deepest = 0;
      for (std::size_t i = nodes.size(); i-- > 0;) {
        if (nodes[i].left < 0) {
          deepest = (std::max)(deepest, depth[i]);
          code.lengths[symbol_of[i]] = static_cast<std::uint8_t>(depth[i]);
          continue;
        }
        depth[static_cast<std::size_t>(nodes[i].left)] = depth[i] + 1;
        depth[static_cast<std::size_t>(nodes[i].right)] = depth[i] + 1;
      }
      if (deepest <= limit)
        break;
      for (auto& count : counts)
        if (count != 0)
          count = count / 2 + 1;
    }
    std::array<std::uint16_t, 17> next{};
    std::array<std::uint16_t, 17> of_length{};
    for (auto const length : code.lengths)
      if (length != 0)
        ++of_length[length];
    for (std::size_t bits = 1; bits < next.size(); ++bits)
      next[bits] = static_cast<std::uint16_t>((next[bits - 1] + of_length[bits - 1]) << 1);
    for (std::size_t i = 0; i < code.lengths.size(); ++i)
      if (code.lengths[i] != 0)
        code.codes[i] = reversed(next[code.lengths[i]]++, code.lengths[i]);
    return code;
  }

  [[nodiscard]] static std::uint16_t reversed(std::uint16_t code, unsigned bits) {
    std::uint16_t out = 0;
    for (unsigned i = 0; i < bits; ++i)
      if ((code >> i & 1) != 0)
        out = static_cast<std::uint16_t>(out | 1u << (bits - 1 - i));
    return out;
  }

  void put(std::uint32_t value, unsigned bits) {
    bit_buffer_ |= std::uint64_t{value} << bit_count_;
    for (bit_count_ += bits; bit_count_ >= 8; bit_count_ -= 8, bit_buffer_ >>= 8)
      out_.push_back(static_cast<char>(bit_buffer_ & 0xff));
  }

  void put(huffman const& code, std::size_t which) { put(code.codes[which], code.lengths[which]); }

  void flush_block(bool last) {
    std::vector<Word> literal_counts(286, 0);
    std::vector<Word> distance_counts(30, 0);
    literal_counts[256] = 1;
    for (auto const& s : symbols_) {
      if (s.distance == 0) {
        ++literal_counts[s.value];
      } else {
        ++literal_counts[257 + slot(length_base, s.value)];
        ++distance_counts[slot(distance_base, s.distance)];
      }
    }
    auto const literals = make_code(std::move(literal_counts), 15);
    auto const distances = make_code(std::move(distance_counts), 15);

    put(last ? 1 : 0, 1);
    put(2, 2);
    write_codes(literals, distances);
    for (auto const& s : symbols_) {
      if (s.distance == 0) {
        put(literals, s.value);
        continue;
      }
      auto const length = slot(length_base, s.value);
      put(literals, 257 + length);
      put(s.value - std::uint32_t{length_base[length]}, length_extra[length]);
      auto const distance = slot(distance_base, s.distance);
      put(distances, distance);
      put(s.distance - std::uint32_t{distance_base[distance]}, distance_extra[distance]);
    }
    put(literals, 256);
    symbols_.clear();
  }

  /// The code lengths, themselves Huffman coded; runs of zeros are shortened.
  void write_codes(huffman const& literals, huffman const& distances) {
    constexpr std::array<std::uint8_t, 19> order{16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                 11, 4,  12, 3, 13, 2, 14, 1, 15};
    std::vector<std::uint8_t> lengths(literals.lengths);
    lengths.insert(lengths.end(), distances.lengths.begin(), distances.lengths.end());
    std::vector<run_code> runs;
    for (std::size_t i = 0; i < lengths.size();) {
      std::size_t run = 1;
      while (i + run < lengths.size() && lengths[i + run] == lengths[i] && run < 138)
        ++run;
      if (lengths[i] != 0 || run < 3) {
        runs.push_back({lengths[i++], 0});
      } else {
        runs.push_back({run < 11 ? std::uint8_t{17} : std::uint8_t{18},
                        static_cast<std::uint8_t>(run - (run < 11 ? 3 : 11))});
        i += run;
      }
    }
    std::vector<Word> counts(19, 0);
    for (auto const& [which, extra] : runs)
      ++counts[which];
    auto const code = make_code(std::move(counts), 7);
    put(286 - 257, 5);
    put(30 - 1, 5);
    put(19 - 4, 4);
    for (auto const which : order)
      put(code.lengths[which], 3);
    for (auto const& [which, extra] : runs) {
      put(code, which);
      if (which >= 17)
        put(extra, which == 17 ? 3 : 7);
    }
  }

  std::string& out_;
  std::string_view data_;
  std::vector<Word> head_;
  std::vector<Word> previous_;
  std::vector<symbol> symbols_;
  std::uint64_t bit_buffer_ = 0;
  unsigned bit_count_ = 0;
};

/// CRC-32 of gzip (RFC 1952, 8).
template <class = void>
[[nodiscard]] std::uint32_t crc32(std::string_view data) noexcept {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int k = 0; k < 8; ++k)
      c = (c & 1) != 0 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  std::uint32_t crc = 0xffffffffu;
  for (char const ch : data)
    crc = table[(crc ^ static_cast<unsigned char>(ch)) & 0xff] ^ (crc >> 8);
  return crc ^ 0xffffffffu;
}

/// `data` as a gzip file, without a name or a time: equal input gives equal output. At most 4 GiB.
template <class Word = std::uint32_t>
[[nodiscard]] std::string gzip_compress(std::string_view data) {
  std::string out("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff", 10);
  deflate_writer<Word>::append(out, data);
  auto const put32 = [&](std::uint32_t value) {
    for (int i = 0; i < 4; ++i)
      out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  };
  put32(crc32(data));
  put32(static_cast<std::uint32_t>(data.size() & 0xffffffffu));
  return out;
}

}  // namespace hf::detail

#endif
