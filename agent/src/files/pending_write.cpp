#include "files/pending_write.hpp"

#include "files/copy.hpp"
#include "files/failure.hpp"
#include "files/filesystem.hpp"
#include "http/exchange.hpp"

#include <hf/sandbox/detail/utf8.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace hf::agent {
namespace {

/// Whether something is mounted over the entry, which then cannot be replaced by a rename.
bool is_mount_point([[maybe_unused]] location const& at) {
#ifdef STATX_ATTR_MOUNT_ROOT
  struct statx found {};
  if (::statx(at.directory.get(), at.name.c_str(), AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, 0,
              &found) == 0)
    return (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
#endif
  return false;
}

bool out_of_resources(int number) {
  return number == ENOSPC || number == EDQUOT || number == EMFILE || number == ENFILE ||
         number == ENOMEM || number == EIO;
}

}  // namespace

void pending_write::fail(int number) const {
  throw_file_error(number, "write", at_.shown);
}

pending_write::pending_write(file_root const& root, write_request request)
    : root_(&root), request_(std::move(request)) {
  at_ = locate(root, request_.path, "write", request_.make_parents);
  follow_links(root, at_, "write", request_.make_parents);
  if (!at_.is_entry())
    fail(EISDIR);
  struct stat st {};
  exists_ = ::fstatat(at_.directory.get(), at_.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (!exists_ && errno != ENOENT)
    fail(errno);
  if (exists_ && S_ISDIR(st.st_mode))
    fail(EISDIR);
  if (at_.wants_directory)
    fail(exists_ ? ENOTDIR : EISDIR);
  if (exists_ && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
    throw_not_regular("write", at_.shown, st.st_mode);
  choose(exists_ ? &st : nullptr);
}

void pending_write::choose(struct stat const* existing) {
  mode_ = request_.mode.value_or(existing != nullptr ? existing->st_mode & (S_ISVTX | 0777)
                                                     : root_->file_mode);
  // Of links only those of /proc are left here, and they lead to devices and the like.
  if ((existing != nullptr && !S_ISREG(existing->st_mode)) ||
      is_kernel_filesystem(at_.directory.get())) {
    demand_atomic("it is not an ordinary file");
    manner_ = manner::ordered;
    open_target(false);
    return;
  }
  if (request_.offset) {
    demand_atomic("it has an offset");
    manner_ = manner::direct;
    open_target(true);
    return;
  }
  if (existing != nullptr && ::faccessat(at_.directory.get(), at_.name.c_str(), W_OK, 0) != 0)
    fail(errno);
  if (!stage(existing)) {
    demand_atomic("its directory cannot be written to");
    manner_ = manner::direct;
    open_target(true);
    return;
  }
  if (existing == nullptr)
    return;
  char const* obstacle = nullptr;
  if (existing->st_nlink > 1)
    obstacle = "the file has several links";
  else if (is_mount_point(at_))
    obstacle = "it is a mount point";
  else if (::fchown(staged_.fd(), existing->st_uid, existing->st_gid) != 0)
    obstacle = "its owner could not be kept";
  if (obstacle == nullptr)
    return;
  demand_atomic(obstacle);
  manner_ = manner::copy;
  open_target(false);
}

/// Makes the new file; false when the directory does not take one.
bool pending_write::stage(struct stat const* existing) {
  int const failed = staged_.create(at_.directory.get());
  if (failed == 0) {
    if (existing == nullptr && root_->owner &&
        ::fchown(staged_.fd(), root_->owner->user, root_->owner->group) != 0)
      fail(errno);
    return true;
  }
  if (out_of_resources(failed))
    fail(failed);
  return false;
}

void pending_write::demand_atomic(char const* why) const {
  if (!request_.require_atomic)
    return;
  throw http_error{409, "conflict",
                   "cannot write " + hf::detail::utf8_lossy(at_.shown) + " atomically: " + why};
}

void pending_write::open_target(bool create) {
  // Links are resolved by now; only those of /proc are for the kernel to follow.
  bool const follow = manner_ == manner::ordered && !root_->confined();
  int const flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);
  char const* const name = at_.name.c_str();
  if (create && !exists_) {
    target_ =
        unique_fd(::openat(at_.directory.get(), name, flags | O_CREAT | O_EXCL, root_->file_mode));
    if (target_) {
      if (root_->owner && ::fchown(target_.get(), root_->owner->user, root_->owner->group) != 0)
        fail(errno);
      if (::fchmod(target_.get(), mode_) != 0)
        fail(errno);
      return;
    }
    if (errno != EEXIST)
      fail(errno);
  }
  target_ = unique_fd(::openat(at_.directory.get(), name, flags));
  struct stat st {};
  if (!target_ || ::fstat(target_.get(), &st) != 0)
    fail(errno);
  if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
    throw_not_regular("write", at_.shown, st.st_mode);
}

int pending_write::fd() const noexcept {
  return manner_ == manner::replace || manner_ == manner::copy ? staged_.fd() : target_.get();
}

void pending_write::append(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n =
        ::pwrite(fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset() + appended_));
    if (n < 0 && errno == ESPIPE)
      n = ::write(fd(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      fail(errno);
    appended_ += static_cast<std::uint64_t>(n);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void pending_write::finish(std::uint64_t size) {
  complete(size);
  staged_ = staging_file();
  target_.reset();
  at_.directory.reset();
}

void pending_write::complete(std::uint64_t size) {
  std::uint64_t const final_size = request_.truncate_to.value_or(size);
  bool const whole = !request_.offset && manner_ != manner::ordered;
  // What is copied is cut afterwards, at the target.
  bool const cut =
      manner_ != manner::copy && (request_.truncate_to || (whole && manner_ == manner::direct));
  if (cut && ::ftruncate(fd(), static_cast<off_t>(final_size)) != 0)
    fail(errno);
  if (manner_ == manner::copy) {
    copy_into_target(size);
  } else if (manner_ == manner::replace) {
    install();
  } else if (request_.mode && ::fchmod(target_.get(), mode_) != 0) {
    fail(errno);
  }
}

void pending_write::install() {
  if (exists_) {
    unique_fd const old(::openat(at_.directory.get(), at_.name.c_str(),
                                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (old)
      copy_attributes(old.get(), staged_.fd());
  }
  if (::fchmod(staged_.fd(), mode_) != 0)
    fail(errno);
  struct stat st {};
  if (::fstat(staged_.fd(), &st) != 0)
    fail(errno);
  int const failed = staged_.link_as(at_.name);
  if (failed == 0)
    return;
  bool const in_place_may_do = failed == EBUSY || failed == EPERM || failed == EACCES;
  if (!in_place_may_do || !staged_)
    fail(failed);
  demand_atomic("the system does not let it be replaced");
  manner_ = manner::copy;
  request_.truncate_to.reset();
  open_target(false);
  copy_into_target(static_cast<std::uint64_t>(st.st_size));
}

void pending_write::copy_into_target(std::uint64_t size) {
  if (int const failed = copy_content(staged_.fd(), target_.get(), size); failed != 0)
    fail(failed);
  auto const final_size = request_.truncate_to.value_or(size);
  if (::ftruncate(target_.get(), static_cast<off_t>(final_size)) != 0)
    fail(errno);
  if (request_.mode && ::fchmod(target_.get(), mode_) != 0)
    fail(errno);
}

}  // namespace hf::agent
