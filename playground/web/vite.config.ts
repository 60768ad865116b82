import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Below /playground/ the gateway serves what is built here; `npm run dev` asks a gateway on its usual port.
export default defineConfig({
  base: "/playground/",
  plugins: [react()],
  worker: { format: "es" },
  build: { target: "es2022", chunkSizeWarningLimit: 8000, reportCompressedSize: false },
  // The host stays that of the page, as the gateway takes no change from a page of another origin.
  server: { proxy: { "^/(graphql|playground/(plan|events|runs|examples))": { target: "http://127.0.0.1:8000", changeOrigin: false } } },
});
