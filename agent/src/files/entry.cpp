#include "files/entry.hpp"

#include "files/failure.hpp"
#include "files/resolve.hpp"

#include <fcntl.h>

#include <cerrno>
#include <utility>

namespace hf::agent {

wire::file_entry describe(std::string name, std::string path, struct stat const& st) {
  wire::file_entry entry;
  entry.name = std::move(name);
  entry.path = std::move(path);
  entry.type = S_ISDIR(st.st_mode)   ? wire::file_type::directory
               : S_ISLNK(st.st_mode) ? wire::file_type::symlink
                                     : wire::file_type::file;
  entry.size = static_cast<std::uint64_t>(st.st_size);
  // The common protocol has no times before 1970.
  if (st.st_mtim.tv_sec >= 0)
    entry.mtime_ms = std::int64_t{st.st_mtim.tv_sec} * 1000 + st.st_mtim.tv_nsec / 1'000'000;
  entry.mode = st.st_mode & 07777;
  return entry;
}

wire::file_entry stat_file(file_root const& root, std::string_view path) {
  auto const at = locate(root, path, "stat");
  struct stat st {};
  if (::fstatat(at.directory.get(), at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    throw_file_error(errno, "stat", at.shown);
  auto shown = at.shown;
  while (shown.size() > 1 && shown.ends_with('/'))
    shown.pop_back();
  // A root has no name.
  auto name = shown.substr(shown.rfind('/') + 1);
  return describe(std::move(name), std::move(shown), st);
}

}  // namespace hf::agent
