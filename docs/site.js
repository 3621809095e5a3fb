// Browsers start no workers from plain files: without a server there is no search to offer.
if (location.protocol === "file:") {
  document.documentElement.classList.add("from-files");
}
