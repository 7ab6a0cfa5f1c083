#ifndef HF_SANDBOX_AGENT_FILE_ENDS_HPP
#define HF_SANDBOX_AGENT_FILE_ENDS_HPP

#include <hf/sandbox/detail/local_file.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/body.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// Where downloaded bytes go; `write_at` may be called from several threads at once for parts that
/// do not overlap.
class byte_target {
 public:
  virtual ~byte_target() = default;
  /// The file has this many bytes; called before bytes of a parallel transfer are written.
  virtual void expect(std::uint64_t total) = 0;
  virtual void write_at(std::uint64_t offset, std::span<std::byte const> data) = 0;
};

/// Into memory, up to a limit (`errc::too_large`).
template <class = void>
class basic_memory_target final : public byte_target {
 public:
  explicit basic_memory_target(std::uint64_t limit) : limit_(limit) {}

  void expect(std::uint64_t total) override {
    check(total);
    bytes_.resize(static_cast<std::size_t>(total));
  }
  void write_at(std::uint64_t offset, std::span<std::byte const> data) override {
    if (offset + data.size() > bytes_.size()) {
      check(offset + data.size());
      // Only a transfer in one piece grows, and it does so at its end.
      bytes_.append(reinterpret_cast<char const*>(data.data()), data.size());
      return;
    }
    std::memcpy(bytes_.data() + offset, data.data(), data.size());
  }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  void check(std::uint64_t size) const {
    if (size > limit_)
      throw error(errc::too_large,
                  "the file is larger than max_size, " + std::to_string(limit_) + " bytes");
  }
  std::uint64_t limit_;
  std::string bytes_;
};
using memory_target = basic_memory_target<>;

/// Into a file of this machine.
template <class = void>
class basic_file_target final : public byte_target {
 public:
  explicit basic_file_target(local_file& file) : file_(file) {}
  void expect(std::uint64_t) override {}
  void write_at(std::uint64_t offset, std::span<std::byte const> data) override {
    file_.write_at(offset, data);
  }

 private:
  local_file& file_;
};
using file_target = basic_file_target<>;

/// Where uploaded bytes come from; `read_at` may be called from several threads at once.
class byte_source {
 public:
  virtual ~byte_source() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Fills the buffer; all of it lies within `size`.
  virtual void read_at(std::uint64_t offset, std::span<std::byte> buffer) = 0;
};

/// From memory, which has to outlive it.
template <class = void>
class basic_memory_source final : public byte_source {
 public:
  explicit basic_memory_source(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  void read_at(std::uint64_t offset, std::span<std::byte> buffer) override {
    std::memcpy(buffer.data(), bytes_.data() + offset, buffer.size());
  }

 private:
  std::string_view bytes_;
};
using memory_source = basic_memory_source<>;

/// From a file of this machine, as long as it was when the transfer began. Its last bytes are only
/// handed out when nothing has come behind them, so that a file that grows is never half written.
template <class = void>
class basic_file_source final : public byte_source {
 public:
  explicit basic_file_source(local_file& file) : file_(file), size_(file.size()) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  void read_at(std::uint64_t offset, std::span<std::byte> buffer) override {
    if (file_.read_at(offset, buffer) != buffer.size())
      throw error(errc::conflict, "the local file became shorter while it was uploaded");
    std::byte beyond[1];
    if (offset + buffer.size() == size_ && file_.read_at(size_, beyond) != 0)
      throw error(errc::conflict, "the local file became longer while it was uploaded");
  }

 private:
  local_file& file_;
  std::uint64_t size_;
};
using file_source = basic_file_source<>;

/// Largest announced size that is not believed: files of the kernel announce 0 (/proc) or a page
/// (/sys), whatever they hold.
inline constexpr std::uint64_t doubted_size = 64 * 1024;

/// Reads a file to its end, whatever size it announces; `errc::too_large` above 512 MiB.
inline std::string read_to_end(local_file& file) {
  constexpr std::size_t block = 64 * 1024;
  constexpr std::size_t limit = std::size_t{512} << 20;
  std::string bytes;
  for (;;) {
    auto const at = bytes.size();
    bytes.resize(at + block);
    // A file of the kernel may give less than was asked for before its end.
    auto const got = file.read_at(at, std::as_writable_bytes(std::span(bytes.data() + at, block)));
    bytes.resize(at + got);
    if (got == 0)
      return bytes;
    if (bytes.size() > limit)
      throw error(errc::too_large, "the local file goes on beyond 512 MiB, and announces less than "
                                   "64 KiB");
  }
}

/// A part of a source as a request's body; tells how many bytes have been read at most.
template <class = void>
class basic_range_body final : public http::body_reader {
 public:
  using report = std::function<void(std::uint64_t more)>;

  basic_range_body(byte_source& source, std::uint64_t begin, std::uint64_t size, report on_bytes)
      : source_(source), begin_(begin), size_(size), on_bytes_(std::move(on_bytes)) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  std::size_t read(std::span<std::byte> buffer) override {
    auto const want = (std::min<std::uint64_t>)(buffer.size(), size_ - position_);
    auto const part = buffer.first(static_cast<std::size_t>(want));
    if (part.empty())
      return 0;
    source_.read_at(begin_ + position_, part);
    position_ += part.size();
    if (position_ > furthest_) {
      auto const more = position_ - furthest_;
      furthest_ = position_;
      on_bytes_(more);
    }
    return part.size();
  }
  void rewind() override { position_ = 0; }

 private:
  byte_source& source_;
  std::uint64_t begin_;
  std::uint64_t size_;
  std::uint64_t position_ = 0;
  std::uint64_t furthest_ = 0;
  report on_bytes_;
};
using range_body = basic_range_body<>;

}  // namespace hf::detail

#endif
