#ifndef HF_SANDBOX_AGENT_EXEC_BYTE_BUFFER_HPP
#define HF_SANDBOX_AGENT_EXEC_BYTE_BUFFER_HPP

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace hf::agent {

/// Growing memory that is not cleared first, which std::string's would be.
class byte_buffer {
 public:
  byte_buffer() = default;
  byte_buffer(byte_buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  byte_buffer& operator=(byte_buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~byte_buffer() { std::free(data_); }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::string_view view() const noexcept { return {data_, size_}; }
  [[nodiscard]] char* data() noexcept { return data_; }

  /// Room for `more` bytes behind the end; they count once `grow_by` says so.
  char* reserve(std::size_t more) {
    if (capacity_ - size_ < more) {
      std::size_t const wanted = (std::max)(size_ + more, capacity_ + capacity_ / 2);
      void* const moved = std::realloc(data_, wanted);
      if (moved == nullptr)
        throw std::bad_alloc();
      data_ = static_cast<char*>(moved);
      capacity_ = wanted;
    }
    return data_ + size_;
  }
  void grow_by(std::size_t bytes) noexcept { size_ += bytes; }
  void shrink_to(std::size_t size) noexcept { size_ = size; }
  void clear() noexcept { size_ = 0; }
  void append(std::string_view bytes) {
    if (bytes.empty())
      return;
    std::memcpy(reserve(bytes.size()), bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  /// Gives the memory back.
  void release() noexcept {
    std::free(data_);
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace hf::agent

#endif
