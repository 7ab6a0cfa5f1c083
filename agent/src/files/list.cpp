#include "files/list.hpp"

#include "files/directory_reader.hpp"
#include "files/entry.hpp"
#include "files/failure.hpp"
#include "files/resolve.hpp"

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace hf::agent {

directory_page::directory_page(file_root const& root, std::string_view path, std::size_t limit,
                               std::string_view after) {
  auto at = locate(root, path, "list");
  int const flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (root.confined() ? O_NOFOLLOW : 0);
  directory_ = unique_fd(::openat(at.directory.get(), at.name.c_str(), flags));
  if (!directory_)
    throw_file_error(errno, "list", at.shown);
  shown_ = std::move(at.shown);
  while (shown_.size() > 1 && shown_.ends_with('/'))
    shown_.pop_back();

  // A heap whose top is the largest of the names kept: the first to go.
  auto const reader = std::make_unique<directory_reader>(directory_.get());
  for (directory_reader::entry found{}; reader->next(found);) {
    if (found.name <= after)
      continue;
    if (names_.size() == limit) {
      truncated_ = true;
      if (limit == 0)
        break;
      if (found.name >= names_.front())
        continue;
      std::pop_heap(names_.begin(), names_.end());
      names_.back() = std::string(found.name);
    } else {
      names_.emplace_back(found.name);
    }
    std::push_heap(names_.begin(), names_.end());
  }
  if (reader->error() != 0)
    throw_file_error(reader->error(), "list", shown_);
  std::sort_heap(names_.begin(), names_.end());
}

std::string directory_page::next_piece() {
  constexpr std::size_t piece_size = 64 * 1024;
  std::string out;
  if (ended_)
    return out;
  if (!begun_)
    out = "{\"entries\":[";
  begun_ = true;
  for (; next_ < names_.size() && out.size() < piece_size; ++next_) {
    auto const& name = names_[next_];
    struct stat st {};
    if (::fstatat(directory_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (!first_entry_)
      out += ',';
    first_entry_ = false;
    auto const entry = wire::file_entry_to_json(
        describe(name, shown_ == "/" ? shown_ + name : shown_ + "/" + name, st));
    out += entry.dump();
  }
  if (next_ < names_.size())
    return out;
  ended_ = true;
  // Before the end of the answer leaves: who has it may unmount what was listed.
  directory_.reset();
  out += "],\"next\":";
  if (truncated_ && !names_.empty()) {
    out += wire::json(hf::detail::utf8_lossy(names_.back())).dump();
    if (!hf::detail::is_utf8(names_.back()))
      out += ",\"next_b64\":\"" + hf::detail::base64_encode(names_.back()) + '"';
  } else {
    out += "null";
  }
  out += truncated_ ? ",\"truncated\":true}" : ",\"truncated\":false}";
  return out;
}

}  // namespace hf::agent
