#ifndef HF_SANDBOX_HTTP_BODY_HPP
#define HF_SANDBOX_HTTP_BODY_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace hf::http {

/// A request body of known size that is read piece by piece and can be read again from the start.
///
/// Used by one `send` at a time. Exceptions that it throws end the `send` and pass through
/// unchanged.
class body_reader {
 public:
  virtual ~body_reader() = default;
  /// Bytes that the body has in all.
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Fills a prefix of `buffer`; returns its length, 0 only at the end. May block.
  virtual std::size_t read(std::span<std::byte> buffer) = 0;
  /// Starts again at the first byte. Every `send` calls it once before the first `read`.
  virtual void rewind() = 0;
};

/// A request body: nothing, bytes in memory, or a reader.
class body {
 public:
  /// No body.
  body() = default;
  /// Bytes that are held.
  body(std::string text) : text_(std::move(text)), present_(true) {}
  /// Bytes that are copied.
  body(char const* text) : body(std::string(text)) {}
  /// A reader, shared so that a request stays a value.
  body(std::shared_ptr<body_reader> reader) : reader_(std::move(reader)), present_(true) {}
  /// The same for a class derived from `body_reader`.
  template <std::derived_from<body_reader> Reader>
  body(std::shared_ptr<Reader> reader) : body(std::shared_ptr<body_reader>(std::move(reader))) {}

  /// Whether a body is sent at all (an empty text is a body with `Content-Length: 0`).
  [[nodiscard]] bool present() const noexcept { return present_; }
  /// Bytes in all.
  [[nodiscard]] std::uint64_t size() const { return reader_ ? reader_->size() : text_.size(); }
  /// The bytes, when there is no reader.
  [[nodiscard]] std::string const& text() const noexcept { return text_; }
  /// The reader, or null.
  [[nodiscard]] body_reader* reader() const noexcept { return reader_.get(); }

 private:
  std::string text_;
  std::shared_ptr<body_reader> reader_;
  bool present_ = false;
};

}  // namespace hf::http

#endif
