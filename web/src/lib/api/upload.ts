import { refused } from "./client";
import { Problem, unreachable } from "./problem";
import type { Media } from "./types";

export interface Sending {
  /** Rejects with a Problem; never settles after `abort`. */
  media: Promise<Media>;
  abort(): void;
}

/**
 * Sends a file as it lies on the disk, without holding it in memory.
 * XMLHttpRequest, because fetch does not tell how much has left.
 */
export function sendMedia(file: File, onProgress: (sentBytes: number) => void): Sending {
  const request = new XMLHttpRequest();
  const media = new Promise<Media>((resolve, reject) => {
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onerror = () => reject(unreachable());
    request.ontimeout = () => reject(unreachable());
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status === 201 && body !== null) resolve(body as Media);
      else reject(refused(request.status, body));
    };
  });
  request.open("POST", `/api/media?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
  request.send(file);
  return { media, abort: () => request.abort() };
}

/** What can be said about a file before a single byte of it is sent; null where all is well. */
export function refusalBeforeSending(file: File, maxBytes: number): Problem | null {
  if (file.size === 0) {
    return new Problem(0, "media_empty", "The file is empty.", "Choose another file.");
  }
  if (file.size > maxBytes) {
    return new Problem(0, "media_too_large", "The file is larger than this server accepts.");
  }
  return null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
