#ifndef HF_SANDBOX_DETAIL_OWNER_HPP
#define HF_SANDBOX_DETAIL_OWNER_HPP

namespace hf::detail {

/// Owns an object on the heap, like `std::unique_ptr`, of which every instance costs the compiler
/// thirty times as much: too much for members of classes that everybody includes.
template <class T>
class owner {
 public:
  owner() = default;
  explicit owner(T* object) noexcept : object_(object) {}
  owner(owner&& other) noexcept : object_(other.release()) {}
  owner& operator=(owner&& other) noexcept {
    if (this != &other) {
      T* const old = object_;
      object_ = other.release();
      delete old;
    }
    return *this;
  }
  ~owner() { delete object_; }

  [[nodiscard]] T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }

 private:
  T* release() noexcept {
    T* const object = object_;
    object_ = nullptr;
    return object;
  }

  T* object_ = nullptr;
};

}  // namespace hf::detail

#endif
